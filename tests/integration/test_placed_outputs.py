"""Outputs of plain calls that stay in device memory, and states that live there between calls."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from onnx import helper

import vaccel
from tests.conformance.models import F32, TEXT, graph, model, value
from tests.integration.daemon_host import DaemonHost
from vaccel.commands import Result
from vaccel.errors import DeviceLost, InvalidArgument, NotFound, Unsupported
from vaccel.loaded_model import Outputs
from vaccel.model import BufferRange, DType, Port, Tensor

SIZES = (3, 5_000, 700_000)  # in a message; beside it; in buffers
Ways = Callable[..., Outputs]


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


@pytest.fixture(scope="module", params=["aperture", "grpc"])
def device(host: DaemonHost, request: pytest.FixtureRequest) -> Iterator[vaccel.Device]:
    with host.vf(request.param) as vf, vaccel.open(address=vf.socket, path=request.param) as made:
        assert made.path == request.param
        yield made


@pytest.fixture(scope="module")
def doubled(device: vaccel.Device) -> vaccel.Model:
    """y = x + x, n = x * x."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Mul", ["x", "x"], ["n"])]
    ends = [value(name, F32, ["size"]) for name in "yn"]
    made = model(graph(nodes, [value("x", F32, ["size"])], ends))
    return device.load(made.SerializeToString())


def called(program: vaccel.Model, *args: Any, **named: Any) -> Outputs:
    return program(*args, **named)


def submitted(program: vaccel.Model, *args: Any, **named: Any) -> Outputs:
    return program.submit(*args, **named).result(30)


@pytest.mark.parametrize("way", [called, submitted])
@pytest.mark.parametrize("size", SIZES)
def test_an_output_stays_where_it_was_put(
    host: DaemonHost, device: vaccel.Device, doubled: vaccel.Model, way: Ways, size: int
) -> None:
    x = np.arange(size, dtype=np.float32)
    room = device.buffer(4 * size + 64)
    before = host.admin.vf(device.info.id).usage.buffers
    outputs = way(doubled, x, out={"y": room.at(64)})
    assert outputs["y"] == Tensor(DType.FLOAT32, (size,), place=BufferRange(room.id, 64))
    assert np.array_equal(outputs["n"], x * x)
    assert outputs.cost.critical_cycles > 0
    assert np.array_equal(room.read("float32", (size,), 64), x + x)
    assert not room.read("uint8", (64,)).any()
    # What lay in buffers meanwhile is given back, the room is not.
    assert host.admin.vf(device.info.id).usage.buffers == before
    room.free()


@pytest.mark.parametrize("way", [called, submitted])
def test_what_was_placed_is_the_next_input(
    device: vaccel.Device, doubled: vaccel.Model, way: Ways
) -> None:
    state = device.buffer(np.ones(5_000, np.float32))
    kept, other = state.tensor("float32", (5_000,)), device.buffer(20_000)
    for _ in range(4):
        kept = way(doubled, kept, out={"y": state, "n": other})["y"]
    assert (state.read("float32", (5_000,)) == 16).all()
    # A tensor that came back is a place as well.
    outputs = way(doubled, np.ones(5_000, np.float32), out={"y": kept})
    assert outputs["y"] == kept and (state.read("float32", (5_000,)) == 2).all()


def test_all_outputs_come_back_where_none_is_placed(doubled: vaccel.Model) -> None:
    x = np.ones(2, np.float32)
    for out in (None, {}):
        assert {name: array.tolist() for name, array in doubled(x, out=out).items()} == {
            "y": [2, 2],
            "n": [1, 1],
        }


def test_keys_and_values_stay_on_the_device(device: vaccel.Device) -> None:
    heads, width, steps = 2, 8, 6
    new, past = ((1, heads, size, width) for size in (1, "past"))
    ports = [Port(name, DType.FLOAT32, new) for name in "qkv"]
    ports += [Port(name, DType.FLOAT32, past) for name in ("past_key", "past_value")]
    layer = device.kernel("cached_attention", *ports)
    keys, values = (device.buffer(4 * heads * steps * width) for _ in "kv")
    cache = [each.tensor("float32", (1, heads, 0, width)) for each in (keys, values)]
    tokens = np.random.default_rng(0).standard_normal((steps, *new), np.float32)
    plain: tuple[Any, Any] = (np.zeros((1, heads, 0, width), "f4"),) * 2
    for token in tokens:
        out = {"present_key": keys, "present_value": values}
        step = layer(token, token, token, *cache, out=out)
        cache = [step["present_key"], step["present_value"]]
        wanted = layer(token, token, token, *plain)
        plain = wanted["present_key"], wanted["present_value"]
        assert np.array_equal(step["result"], wanted["result"])
    assert np.array_equal(keys.read("float32", plain[0].shape), plain[0])


def test_a_queued_launch_places_outputs_likewise(
    device: vaccel.Device, doubled: vaccel.Model
) -> None:
    room, stream = device.buffer(64), device.stream()
    done = stream.launch(doubled, np.ones(3, np.float32), out={"n": room}).wait(30)
    assert done.results["n"] == room.tensor("float32", (3,))
    assert sorted(done.results) == ["n", "y"]
    with pytest.raises(InvalidArgument, match="results and out both"):
        stream.launch(doubled, np.ones(3, "f4"), results=[Result("y")], out={"n": room})


WRONG: dict[str, tuple[Callable[[vaccel.Buffer], Any], str]] = {
    "no mapping": (lambda room: room, "a Buffer does not say where outputs go"),
    "another output": (lambda room: {"z": room}, "no output is called 'z': .* y: float32"),
    "an array": (lambda room: {"y": np.ones(3)}, "output y: .*: a ndarray is no place"),
    "a type": (lambda room: {"y": room.tensor("int8", (3,))}, "a tensor of int8"),
    "an array of bytes": (
        lambda room: {"y": Tensor(DType.FLOAT32, (1,), data=b"1234")},
        "a Tensor is no place",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_place_is_refused_before_it_travels(
    device: vaccel.Device, doubled: vaccel.Model, case: str
) -> None:
    out, words = WRONG[case]
    for way in (called, submitted):
        with pytest.raises(InvalidArgument, match=words) as caught:
            way(doubled, np.ones(3, np.float32), out=out(device.buffer(64)))
        assert caught.value.hint and "\n" not in str(caught.value)


def test_rooms_are_large_enough_or_refused(device: vaccel.Device, doubled: vaccel.Model) -> None:
    fixed = device.kernel("relu", Port("x", DType.FLOAT32, (100,)))
    small = device.buffer(399)
    with pytest.raises(InvalidArgument, match=r"result: float32\[100\] has 400 bytes, buffer"):
        fixed(np.ones(100, np.float32), out={"result": small})
    # Which only the launch shows: nothing of it is in the buffer.
    for way in (called, submitted):
        with pytest.raises(InvalidArgument, match=r"'y', float32\[100\]"):
            way(doubled, np.ones(100, np.float32), out={"y": small})
        with pytest.raises(InvalidArgument, match=r"'y', float32\[100\]"):
            way(doubled, np.ones(100, np.float32), out={"y": small.at(10)})
        with pytest.raises(NotFound):
            way(doubled, np.ones(100, np.float32), out={"y": BufferRange(9_999)})
    assert not small.read("uint8", (399,)).any()


def test_a_buffer_of_another_device_is_refused(
    device: vaccel.Device, doubled: vaccel.Model, host: DaemonHost
) -> None:
    with (
        host.vf("other") as vf,
        vaccel.open(address=vf.socket, path=device.path) as other,
        pytest.raises(InvalidArgument, match=r"buffer .* is of another device"),
    ):
        doubled(np.ones(100, np.float32), out={"y": other.buffer(400)})


@pytest.mark.parametrize("path", ["aperture", "grpc"])
def test_a_buffer_that_a_reset_took_is_no_place(host: DaemonHost, path: str) -> None:
    with host.vf(f"reset-{path}") as vf, vaccel.open(address=vf.socket, path=path) as device:
        relu = device.kernel("relu", Port("x", DType.FLOAT32, (3,)))
        lost = device.buffer(12)
        os.kill(host.admin.vf(vf.id).worker_pid, signal.SIGKILL)
        with pytest.raises(DeviceLost):
            relu(np.ones(3, np.float32), out={"result": lost})
        with pytest.raises(DeviceLost, match="was lost when its VF was reset"):
            relu(np.ones(3, np.float32), out={"result": lost})
        found = device.buffer(12)
        relu(np.ones(3, np.float32), out={"result": found})
        assert (found.read("float32", (3,)) == 1).all()


def test_strings_have_no_place(device: vaccel.Device) -> None:
    x, y = (value(name, TEXT, ["n"]) for name in "xy")
    node = helper.make_node("Identity", ["x"], ["y"])
    words = device.load(model(graph([node], [x], [y])).SerializeToString())
    with pytest.raises(Unsupported, match=r"y: string\[n\] has no place"):
        words(["a"], out={"y": device.buffer(8)})


def test_a_buffer_is_no_array(device: vaccel.Device, doubled: vaccel.Model) -> None:
    room = device.buffer(12)
    with pytest.raises(InvalidArgument, match=r"is no array: .*shape.*tensor"):
        doubled(room)
