from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from host_daemon.compiler import frontend, sessions
from host_daemon.compiler.quantised import find_quantised
from vaccel.bench.quantised import QUEUE, Result, measure
from vaccel.bench.quantised_models import Pair, pairs
from vaccel.cli.render import plain
from vaccel.model import Cost


@pytest.fixture(scope="module")
def networks() -> list[Pair]:
    return list(pairs())


def test_every_product_of_the_quantised_networks_is_int8(networks: list[Pair]) -> None:
    for pair in networks:
        model = frontend.read(pair.int8).proto
        onnx.checker.check_model(onnx.load_model_from_string(pair.int8))
        found = find_quantised(model)
        products = [node.name for node in model.graph.node if node.op_type in ("MatMul", "Conv")]
        assert found.arithmetic == dict.fromkeys(products, "int8")
        assert found.requantised == set(products)
        # Relu is part of requantising; the first quantisation and the last dequantisation are not.
        assert {f"relu{index}" for index in range(len(products))} <= found.around.keys()


def _seconds(opened: Sequence[object], pair: Pair) -> list[float]:
    """The best of some runs of each session, in turns: both meet the same machine."""

    def once(session: object) -> float:
        start = time.process_time()
        session.run(None, {"x": pair.input})  # type: ignore[attr-defined]
        return time.process_time() - start

    rounds = [[once(session) for session in opened] for _ in range(6)]
    return [min(times) for times in zip(*rounds, strict=True)]


def test_int8_is_faster_and_near_where_its_kernels_are_exact(networks: list[Pair]) -> None:
    for pair in networks:
        wide, short = (
            sessions.open_session(each, sessions.options(1)) for each in (pair.fp32, pair.int8)
        )
        exact, rounded = (each.run(None, {"x": pair.input})[0] for each in (wide, short))
        assert np.sqrt(np.mean((exact - rounded) ** 2) / np.mean(exact**2)) < 0.1
        # Without VNNI the detour to exact kernels costs what the short numbers gain.
        if not sessions.saturates():
            long, quick = _seconds((wide, short), pair)
            assert quick < long


def test_medians_are_of_a_launch_of_a_queue() -> None:
    calls = []

    def call(name: str, value: float, cycles: int):
        def run():
            calls.append(name)
            return np.full(4, value, np.float32), Cost(critical_cycles=cycles)

        return run

    row = measure("net", call("fp32", 1.0, 800), call("int8", 0.9, 100), runs=3)
    assert calls == ["fp32", "int8"] * 4
    assert (row.fp32_cycles, row.int8_cycles) == (800, 100)
    assert row.difference == pytest.approx(0.1)
    assert row.fp32_ms * QUEUE < 1000
    result = Result("quantised", "local", {}, {}, True, (row,))
    assert plain(result)["rows"][0]["model"] == "net"
