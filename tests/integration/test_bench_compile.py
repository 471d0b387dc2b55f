"""The benchmark of loading runs, and says what it should."""

from __future__ import annotations

from vaccel.bench import compile as measured
from vaccel.bench import large_model
from vaccel.cli.render import plain


def test_a_chain_is_loaded_and_then_found() -> None:
    result = measured.run(lambda step, fraction: None, "chain-1000")
    (row,) = plain(result)["rows"]
    assert (row["model"], row["nodes"]) == ("chain-1000", 1000)
    assert 0 < row["again_ms"] < row["compile_ms"] < 60_000
    assert 0 < row["peak_bytes"] < 256 << 20


def test_the_large_model_is_right_at_any_size() -> None:
    result = large_model.run(lambda step, fraction: None, layers=2, width=256)
    assert (result.nodes, result.differs, result.elements) == (4, 0, 4 * 256)
    assert result.model_bytes > 2 * 256 * 256 * 4
    assert 0 < result.peak_bytes < 256 << 20
