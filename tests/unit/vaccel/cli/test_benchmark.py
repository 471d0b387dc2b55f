from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import typer

from vaccel.bench import compile as loading
from vaccel.bench import paths, plug
from vaccel.bench.agreement import Result as Agreement
from vaccel.bench.agreement import Row as Agreed
from vaccel.bench.choice import chosen
from vaccel.bench.compile import Result as Loading
from vaccel.bench.compile import Row as Loaded
from vaccel.bench.onnx_suite import Exclusion
from vaccel.bench.onnx_suite import Result as Suite
from vaccel.bench.overhead import Result as Overhead
from vaccel.bench.overhead import Row as Call
from vaccel.bench.quantised import Result as Quantised
from vaccel.bench.quantised import Row as Pair
from vaccel.bench.where import Where
from vaccel.cli import bench_tables as tables
from vaccel.cli.benchmark import present, verdict
from vaccel.cli.main import run
from vaccel.errors import NotFound


@dataclass(frozen=True)
class Found:
    bench: str
    rows: tuple[float, ...]


def measure(progress):
    progress("measure", -1.0)
    return Found("thing", (1.5,))


def test_a_result_goes_to_stdout_and_progress_to_stderr(capsys):
    assert present(measure, lambda found: print(f"drawn {found.bench}"), False).rows == (1.5,)
    assert present(measure, lambda found: print("not drawn"), True).bench == "thing"
    out, err = capsys.readouterr()
    drawn, as_json = out.splitlines()
    assert drawn == "drawn thing"
    assert json.loads(as_json) == {"bench": "thing", "rows": [1.5]}
    assert err.count("measure") == 2


def test_a_verdict_is_an_exit_code():
    verdict(True)
    with pytest.raises(typer.Exit) as ended:
        verdict(False)
    assert ended.value.exit_code == 1


HEAD = ("local", {}, {})
LATENCY = {"where": "vm", "void": True, "void_reason": "a busy machine"}
LATENCY |= {"p50_us": 7.0, "replay_us_per_command": 0.1, "speedup_p50": 76.0}
PLUG = {"bench": "plug", "cycles": 20, "attach_p50_ms": 51.2, "grown": ["qemu"]}
SIZES = {"write_MBps": 1.0, "read_MBps": 2.0, "memcpy_MBps": 3000.0, "grpc_MBps": None}
AGREED = Agreed("m", "bf16", True, 9, 8, 1.5, 40, 39, 8, 1200, {})
SUITE = Suite("onnx", "1.23", "x", 3, 1, 1, 1, (Exclusion("a", "b"),), (), {"array": 7})


@pytest.mark.parametrize(
    ("show", "result", "line"),
    [
        ("overhead", Overhead("overhead", *HEAD, (Call("m", 3.0, 2.0, 1.5, 1.25),)),
         "m 3.00 ms 2.00 ms 1.50 1.25"),
        ("quantised", Quantised("quantised", *HEAD, True, (Pair("m", 4, 2, 2, 0.01, 8, 4, 1, 1),)),
         "m 4.00 ms 2.00 ms 2.00 x 1.00% 8 cycles 4 cycles"),
        ("onnx", SUITE, "onnx 1.23: 1 of 3 cases passed, 1 failed, 1 excluded; nodes: 7 array"),
        ("agreement", Agreement("a", *HEAD, 1e-4, 1e-5, 7, (AGREED,)),
         "m bf16 9 8 40 97.50% 1,200"),
        ("compile", Loading("c", *HEAD, (Loaded("m", 9, 8, 1, 4_000_000, 5, 2_000_000, 1, 1),)),
         "m 5 2.0 9 ms 8 ms 1 ms 1 ms 4 MB 2.0 x"),
        ("latency", LATENCY, "speedup_p50 76 x"),
        ("latency", LATENCY, "this run is void: a busy machine"),
        ("bandwidth", {"where": "vm", "rows": [{"size": 1 << 20, **SIZES}]},
         "1 MiB 1.0 2.0 3,000.0 -"),
        ("plug", PLUG, "attach p50 ms 51"),
        ("plug", PLUG, "qemu holds more descriptors than before the first cycle"),
    ],
)
def test_each_benchmark_is_drawn(capsys, show, result, line):
    getattr(tables, f"show_{show}")(result)
    lines = [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()]
    assert line in lines


@pytest.mark.parametrize("good", [True, False])
def test_what_a_benchmark_refuses_is_an_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    latency = {"bench": "latency", **LATENCY, "void": not good}
    monkeypatch.setattr(paths, "run", lambda *_, **__: latency)
    assert run(["bench", "latency", "--where", "vm", "--json"]) == (not good)
    monkeypatch.setattr(plug, "run", lambda *_: PLUG | {"grown": [] if good else ["vacceld"]})
    assert run(["bench", "plug", "--json"]) == (not good)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["void"], bool(second["grown"])) == (not good, not good)


def test_a_latency_is_void_where_its_baseline_is_slow_in_a_vm() -> None:
    found = paths.voided(Where.VM, {"grpc_p50_us": 5000.1})
    assert found["void"] and "5,000 us" in found["void_reason"] and "idle" in found["void_reason"]
    assert paths.voided(Where.VM, {"grpc_p50_us": 5000.0}) == {"void": False, "void_reason": ""}
    assert not paths.voided(Where.LOCAL, {"grpc_p50_us": 9000.0})["void"]


def test_a_benchmark_of_nothing_is_not_passed():
    assert chosen("model", ("vgg16", "magika"), "gg", str) == ["vgg16"]
    with pytest.raises(NotFound, match="no model has 'x' in its name") as caught:
        chosen("model", map(str, range(20)), "x", str)
    assert caught.value.hint.endswith("10, 11 and 8 more")
    with pytest.raises(NotFound, match="chain-1000"):  # and no daemon was started for it
        loading.run(lambda step, fraction: pytest.fail(step), "nothing")
