"""The SDK's Model over a real worker: calls in flight, maps, batches, and errors before a trip."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from onnx import helper

import vaccel
from tests.conformance import models
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from tests.integration.daemon_host import DaemonHost
from vaccel import bounds
from vaccel.errors import InvalidArgument, TimedOut, WrongState
from vaccel.model import DType, Port

SIZES = (1, 700_000)  # inside the command; in a buffer of its own


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


@pytest.fixture(scope="module", params=["aperture", "grpc"])
def device(host: DaemonHost, request: pytest.FixtureRequest) -> Iterator[vaccel.Device]:
    with host.vf(request.param) as vf, vaccel.open(address=vf.socket, path=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def square(device: vaccel.Device) -> vaccel.Model:
    """y[batch, n] = x[batch, n] * x + step; ``total`` does not begin with the batch."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["s"]), helper.make_node("Add", ["s", "b"], ["y"])]
    inputs = [value("x", F32, ["batch", "n"]), value("b", F32, ["n"])]
    made = model(graph(nodes, inputs, [value("y", F32, ["batch", "n"])]))
    return device.load(made.SerializeToString())


@pytest.mark.parametrize("size", SIZES)
def test_several_calls_are_under_way(square: vaccel.Model, size: int) -> None:
    count = 2 * bounds.CALLS_IN_FLIGHT if size == 1 else 4
    bias = np.zeros(size, np.float32)
    calls = [square.submit(np.full((1, size), i, np.float32), b=bias) for i in range(count)]
    for index, call in enumerate(calls):
        outputs = call.result(30)
        assert call.done() and outputs.cost.critical_cycles > 0
        assert (outputs["y"] == index * index).all()
        assert call.result() is outputs
    spans = sorted((c.result().cost.start_ns, c.result().cost.end_ns) for c in calls)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_call_is_awaited_from_any_loop(square: vaccel.Model) -> None:
    async def main() -> list[vaccel.Outputs]:
        calls = [square.submit(np.full((1, 2), i, np.float32), np.ones(2, "f4")) for i in range(5)]
        late = asyncio.ensure_future(_awaited(calls[0]))
        late.cancel()  # giving up on one ends no other
        return await asyncio.gather(*map(_awaited, calls[1:]))

    async def _awaited(call: vaccel.Call) -> vaccel.Outputs:
        return await call

    given = asyncio.run(main())
    assert [outputs["y"][0, 0] for outputs in given] == [2, 5, 10, 17]


def test_a_call_that_fails_fails_alone(device: vaccel.Device) -> None:
    gather = device.load(models.gather().SerializeToString())
    calls = [gather.submit(index=np.array([index])) for index in (1, 99, 2)]
    assert calls[0].result()["y"].tolist() == [1]
    with pytest.raises(InvalidArgument, match="99"):
        calls[1].result()
    assert calls[2].result()["y"].tolist() == [2]


def test_a_result_is_waited_for_again(device: vaccel.Device) -> None:
    body = graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["s", "x"], ["z"])],
        [value("i", I64, []), value("go", BOOL, []), value("s", F32, None)],
        [value("on", BOOL, []), value("z", F32, None)],
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)
    inputs = [value("x", F32, ["n"]), value("turns", I64, [])]
    slow = device.load(model(graph([node], inputs, [value("y", F32, ["n"])])).SerializeToString())
    call = slow.submit(np.ones(1, np.float32), 4_000)
    with pytest.raises(TimedOut, match="not done after 0 s"):
        call.result(0)
    assert call.result(60)["y"].tolist() == [4_001]


def test_a_map_gives_results_in_order_with_calls_ahead(square: vaccel.Model) -> None:
    asked: list[int] = []

    def items() -> Iterator[object]:
        for index in range(7):
            asked.append(index)
            x, bias = np.full((1, 1), index, np.float32), np.ones(1, np.float32)
            yield (x, bias) if index % 2 else {"x": x, "b": bias}

    found = square.map(items(), ahead=3)
    assert next(found)["y"][0, 0] == 1
    assert len(asked) == 3
    assert [outputs["y"][0, 0] for outputs in found] == [2, 5, 10, 17, 26, 37]
    assert list(square.map([])) == []
    with pytest.raises(InvalidArgument, match="ahead is 0"):
        next(square.map([], ahead=0))


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
def test_rows_beyond_a_batch_are_cut_and_put_together(square: vaccel.Model, rows: int) -> None:
    x, bias = np.arange(24, dtype=np.float32).reshape(8, 3), np.float32([1, 2, 3])
    whole = square(x, bias)
    parts = square.in_batches(rows, x, b=bias)
    assert np.array_equal(parts["y"], whole["y"])
    assert parts.cost.nodes["vector"] == 2 * -(-8 // rows)
    assert parts.cost.critical_cycles >= whole.cost.critical_cycles
    assert square.in_batches(rows, x[:0], bias)["y"].shape == (0, 3)


def test_a_model_without_a_batch_says_so(device: vaccel.Device, square: vaccel.Model) -> None:
    with pytest.raises(InvalidArgument, match=r"flag: bool\[.*has no batch"):
        branch = device.load(models.branch().SerializeToString())
        branch.in_batches(2, True, np.ones((2, 2), np.float32))
    with pytest.raises(InvalidArgument, match="rows is 0"):
        square.in_batches(0, np.ones((1, 1), np.float32), np.ones(1, np.float32))


def test_inputs_come_by_position_by_name_or_in_a_mapping(square: vaccel.Model) -> None:
    x, bias = np.full((2, 3), 3, np.float32), np.ones(3, np.float32)
    calls = (((x, bias), {}), ((x,), {"b": bias}), (({"x": x, "b": bias},), {}))
    for args, named in (*calls, (({"x": x},), {"b": bias})):
        for start in (square, lambda *a, **n: square.submit(*a, **n).result(30)):
            assert (start(*args, **named)["y"] == 10).all()
        assert square.estimate(*args, **named).critical_cycles > 0
    with pytest.raises(InvalidArgument, match=r"no input is called 'z'.*given z: float32\[2, 3\]"):
        square({"z": x})


def test_symbols_are_seen_and_kept(square: vaccel.Model) -> None:
    assert [str(port) for port in square.inputs] == ["x: float32[batch, n]", "b: float32[n]"]
    assert "(x: float32[batch, n], b: float32[n]) -> (y: float32[batch, n])" in repr(square)
    for call in (square, square.submit, square.estimate):
        with pytest.raises(InvalidArgument) as caught:
            call(np.ones((2, 3), np.float32), np.ones(4, np.float32))
        text = str(caught.value)
        assert "b: float32[n], given [4]" in text
        assert "n is 3 in input 'x', x: float32[batch, n], given [2, 3]" in text


def test_what_makes_no_sense_is_refused_by_name(
    device: vaccel.Device, square: vaccel.Model
) -> None:
    x, b = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    held = device.buffer(16)
    wrong = (
        (lambda: square({"x": x, 1: b}), "input name 1 is a int"),
        (lambda: square(x, b, timeout=float("nan")), "timeout is nan"),
        (lambda: square.submit(x, b).result("soon"), "timeout is 'soon'"),
        (lambda: next(square.map(5)), "a int gives no inputs"),
        (lambda: device.load(5), "model 5: expected str, bytes"),
        (lambda: device.load("a\0b"), "embedded null byte"),
        (lambda: device.kernel("matmul", x, x), "operand 1 is a ndarray, not a Port"),
        (lambda: device.run(5), "kernel is 5"),
        (lambda: device.buffer(1.5), "buffer: size in bytes is 1.5"),
        (lambda: device.buffer(-1), "buffer: size in bytes is -1"),
        (lambda: device.staging((2, -2)), "staging: axis 1 is -2"),
        (lambda: device.staging(2, "float33"), "dtype is 'float33'"),
        (lambda: held.read("float33", 2), "dtype is 'float33'"),
        (lambda: held.read("float32", (2, "x")), "axis 1 is 'x'"),
        (lambda: held.write(b, offset=-4), "offset is -4"),
        (lambda: device.stream().submit(square), "a Model is no command"),
    )
    for call, said in wrong:
        with pytest.raises(InvalidArgument, match=said):
            call()
    assert (square(x, b)["y"] == 2).all()


@pytest.mark.parametrize("path", ["aperture", "grpc"])
def test_a_closed_device_says_so(host: DaemonHost, path: str) -> None:
    with host.vf(f"closed-{path}") as vf:
        device = vaccel.open(address=vf.socket, path=path)
        held, relu = device.buffer(16), device.kernel("relu", Port("x", DType.FLOAT32, ("n",)))
        device.close()
        device.close()
        for call in (
            lambda: device.buffer(16),
            lambda: relu(np.ones(2, np.float32)),
            lambda: held.read("float32", 4),
            held.free,
        ):
            with pytest.raises(WrongState, match="the device is closed"):
                call()
