"""The benchmarks of the fast path, briefly and on the host: what they print, and that it can be."""

from __future__ import annotations

import pytest

from vaccel.bench import paths
from vaccel.bench.where import Where

HEAD = {"bench", "where", "machine", "versions", "rows"}
LATENCY = {
    "p50_us",
    "p99_us",
    "grpc_p50_us",
    "grpc_p99_us",
    "speedup_p50",
    "batch_64_us_per_command",
    "replay_us_per_command",
}
RATES = ("write_MBps", "read_MBps", "memcpy_MBps", "grpc_MBps")


@pytest.fixture
def steps() -> list[str]:
    return []


def test_latency_has_its_keys_and_beats_grpc(steps: list[str]) -> None:
    found = paths.run("latency", Where.LOCAL, lambda step, _: steps.append(step), brief=True)
    assert set(found) == HEAD | LATENCY | {"void", "void_reason"}
    assert (found["bench"], found["where"], found["rows"]) == ("latency", "local", [])
    assert 0 < found["p50_us"] <= found["p99_us"]
    assert found["speedup_p50"] == pytest.approx(found["grpc_p50_us"] / found["p50_us"])
    assert found["speedup_p50"] > 1
    assert 0 < found["replay_us_per_command"] < found["p50_us"]
    assert 0 < found["batch_64_us_per_command"] < found["p50_us"]
    assert found["void"] is False
    assert "measure latency" in steps


def test_bandwidth_has_its_keys_and_beats_grpc(steps: list[str]) -> None:
    found = paths.run("bandwidth", Where.LOCAL, lambda step, _: steps.append(step), brief=True)
    assert set(found) == HEAD
    assert [row["size"] for row in found["rows"]] == [64 << 10, 1 << 20, 32 << 20]
    for row in found["rows"]:
        assert set(row) == {"size", *RATES}
        measured = [row[rate] for rate in RATES[: 4 if row["size"] <= 16 << 20 else 3]]
        assert min(measured) > 0
        # A plain copy and one into the window are of one kind, whatever else the machine does.
        assert min(row["write_MBps"], row["read_MBps"]) > row["memcpy_MBps"] / 10
        if row["grpc_MBps"] is not None:
            assert row["write_MBps"] > row["grpc_MBps"]
    assert found["rows"][-1]["grpc_MBps"] is None
