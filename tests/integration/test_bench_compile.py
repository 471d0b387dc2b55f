"""The benchmark of loading runs, and says what it should."""

from __future__ import annotations

from vaccel.bench import compile as measured
from vaccel.cli.render import plain


def test_a_chain_is_loaded_and_then_found() -> None:
    result = measured.run(lambda step, fraction: None, "chain-1000")
    (row,) = plain(result)["rows"]
    assert (row["model"], row["nodes"]) == ("chain-1000", 1000)
    assert 0 < row["again_ms"] < row["compile_ms"] < 60_000
    assert 0 < row["peak_bytes"] < 256 << 20
