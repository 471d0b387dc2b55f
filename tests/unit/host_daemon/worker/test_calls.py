"""Calls in the slab, against an app that writes whatever it likes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from tests.conformance import models
from tests.unit.host_daemon.worker.test_queues import App, app  # noqa: F401 - a fixture
from vaccel import bounds
from vaccel.aperture.descriptors import Op
from vaccel.binding import tensor_of
from vaccel.commands import Completion
from vaccel.compute import OnnxSource
from vaccel.errors import InvalidArgument, NotFound, VaccelError
from vaccel.rpc import ring_calls, ring_launch
from vaccel.v1 import ring_pb2

U64 = (1 << 64) - 1
REPLY = 1 << 16


async def program(app: App, data: bytes = models.build("affine")) -> int:  # noqa: F811
    buffer = await app.executor.allocate(app.context, len(data))
    await app.executor.write(app.context, buffer, 0, data)
    loaded = await app.executor.load_program(app.context, OnnxSource(buffer, 0, len(data)))
    await app.executor.free(app.context, buffer)
    return loaded.id


async def ask(app: App, payload: bytes) -> tuple[Any, bytes]:  # noqa: F811
    start = app.lease.slab_offset
    app.window.bytes[start + REPLY : start + REPLY + len(payload)] = payload
    app.send(Op.CALL, 0, 1, 0, 0, start + REPLY, len(payload), start, REPLY)
    (done,) = await app.answers(1)
    return done, bytes(app.window.bytes[start : start + min(done.value, REPLY)])


def request(number: int, where: int, **changes: Any) -> ring_pb2.CallRequest:
    made = ring_pb2.CallRequest(stream=3, program=number, room_offset=where, room_bytes=64)
    made.staged["x"].dtype, made.staged["x"].offset = "float32", where
    made.staged["x"].shape.extend((2, 4))
    for name, value in changes.items():
        if name in ("dtype", "offset"):
            setattr(made.staged["x"], name, value)
        elif name == "shape":
            made.staged["x"].ClearField("shape")
            made.staged["x"].shape.extend(value)
        else:
            setattr(made, name, value)
    return made


@pytest.mark.parametrize("room", [0, 64])
async def test_a_call_is_done(app: App, room: int) -> None:  # noqa: F811
    number, start = await program(app), app.lease.slab_offset
    made = request(number, start + 4096, room_bytes=room)
    for fence in (1, 2):
        done, reply = await ask(app, made.SerializeToString())
        assert done.error is None
        found = ring_launch.reply_of(reply)
        assert found.completion.error is None
        assert found.completion.fence == fence
        # A small result that finds no room travels itself.
        assert list(found.staged) == ["y"] * bool(room)
        assert list(found.completion.results) == ["y"] * (not room)
        assert found.served_ns > 0
        await app.fence(3, fence)


@pytest.mark.parametrize(
    ("changes", "kind", "word"),
    [
        ({"dtype": "float33"}, InvalidArgument, "float33"),
        ({"dtype": "string"}, InvalidArgument, "strings do not lie"),
        ({"dtype": "float64"}, InvalidArgument, "expected float32"),
        ({"shape": (2, 5)}, InvalidArgument, "expected float32"),
        ({"shape": (1 << 40, 1 << 40)}, InvalidArgument, "2^48"),
        ({"shape": (1 << 30,)}, InvalidArgument, "more than"),
        ({"shape": (0, U64)}, InvalidArgument, "2^48"),
        ({"offset": U64}, InvalidArgument, "outside the slab"),
        ({"offset": 0}, InvalidArgument, "outside the slab"),
        ({"room_offset": 0}, InvalidArgument, "outside the slab"),
        ({"room_offset": U64}, InvalidArgument, "outside the slab"),
        ({"room_bytes": U64}, InvalidArgument, "outside the slab"),
        # It ends inside, and begins in the rings.
        ({"room_offset": 1 << 16, "room_bytes": 3 << 20}, InvalidArgument, "outside the slab"),
        ({"program": 99}, NotFound, "program 99"),
    ],
)
async def test_a_bad_call_is_refused_by_name(
    app: App,  # noqa: F811
    changes: dict[str, Any],
    kind: type[VaccelError],
    word: str,
) -> None:
    number, start = await program(app), app.lease.slab_offset
    done, reply = await ask(app, request(number, start + 4096, **changes).SerializeToString())
    if done.error is None:
        error: Any = ring_launch.reply_of(reply).completion.error
    else:
        error = ring_calls.decode_error(reply)
    assert type(error) is kind, error
    assert word in str(error)
    # And the next one works.
    done, reply = await ask(app, request(number, start + 4096).SerializeToString())
    assert ring_launch.reply_of(reply).completion.error is None


ELEMENTS = 1 << 14  # of 2 bytes


def constant_too() -> bytes:
    """y = x + k and k itself, which the program computes once and keeps for all its launches."""
    kind = TensorProto.BFLOAT16  # ONNX Runtime has no such sum: the program holds k itself
    one = from_array(np.ones(ELEMENTS, ml_dtypes.bfloat16), "one")
    nodes = [helper.make_node("Neg", ["one"], ["k"]), helper.make_node("Add", ["x", "k"], ["y"])]
    x = helper.make_tensor_value_info("x", kind, [1])
    outputs = [helper.make_tensor_value_info(name, kind, [ELEMENTS]) for name in "ky"]
    made = helper.make_graph(nodes, "constant", [x], outputs, [one])
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(made, opset_imports=opset, ir_version=10).SerializeToString())


def results(app: App, reply: bytes) -> dict[str, set[int]]:  # noqa: F811
    """The values that are found in each result, wherever it lies."""
    found = ring_launch.reply_of(reply)
    assert found.completion.error is None, found.completion.error
    buffers = app.executor._contexts.find(app.context).buffers
    seen = {}
    for name, staged in found.staged.items():
        seen[name] = app.window.bytes[staged.offset : staged.offset + staged.nbytes]
    for name, value in found.completion.results.items():
        seen[name] = buffers.view(value.place, value.nbytes, name).data  # type: ignore[union-attr,arg-type]
    return {name: set(np.frombuffer(each, np.uint16).tolist()) for name, each in seen.items()}


@pytest.mark.parametrize("room", [0, 1 << 17])
async def test_results_on_their_way_have_no_number_that_a_descriptor_could_name(
    app: App,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    monkeypatch.setattr(bounds, "INLINE_BYTES", ELEMENTS)  # so that these are large results
    number, start = await program(app, constant_too()), app.lease.slab_offset
    accept, guesses = app.executor.accept, range(3 * 10**9, 3 * 10**9 + 8)

    def attack(*arguments: Any, **options: Any) -> None:
        owner, stream, first, commands, sink = arguments

        def told(completion: Completion) -> None:
            sink(completion)
            # A doorbell may be heard at any moment, so also before the results find their place.
            for guess in guesses:
                app.send(Op.WRITE, 0, 77, 0, 0, start, guess, 0, 64)
            app.queues._rung()

        accept(owner, stream, first, commands, told, **options)

    made = ring_pb2.CallRequest(stream=3, program=number, room_offset=start, room_bytes=room)
    made.arguments["x"].tensor.dtype = "bfloat16"
    made.arguments["x"].tensor.shape.append(1)
    made.arguments["x"].tensor.inline = bytes(2)
    payload = made.SerializeToString()
    expected = {"k": {0xBF80}, "y": {0xBF80}}  # -1
    for attacked in (True, False):
        monkeypatch.setattr(app.executor, "accept", attack if attacked else accept)
        at = start + app.lease.slab_bytes - 2 * REPLY
        app.window.bytes[at : at + len(payload)] = payload
        app.send(Op.CALL, 0, 1, 0, 0, at, len(payload), at + REPLY, REPLY)
        done = await app.answers(1 + len(guesses) * attacked)
        assert all(isinstance(one.error, NotFound) for one in done if one.tag == 77)
        (call,) = (one for one in done if one.tag == 1)
        assert call.error is None
        reply = bytes(app.window.bytes[at + REPLY : at + REPLY + call.value])
        assert results(app, reply) == expected


async def test_an_argument_twice_and_noise_are_refused(app: App) -> None:  # noqa: F811
    number, start = await program(app), app.lease.slab_offset
    made = request(number, start + 4096)
    made.arguments["x"].strings.shape.append(0)
    for payload in (made.SerializeToString(), b"\xff" * 40):
        done, _ = await ask(app, payload)
        assert isinstance(done.error, InvalidArgument)


def test_only_short_requests_are_remembered() -> None:
    cached = ring_launch._asked_before
    for size in (16, 1 << 20):
        cached.cache_clear()
        data = np.zeros(size, np.uint8)
        payload = ring_launch.to_call(1, 2, {"x": tensor_of(data)}, {}, (0, 0))
        asked = [ring_launch.call_of(payload, lambda *_: b"") for _ in range(2)]
        assert asked[0] == asked[1]
        assert (cached.cache_info().currsize, cached.cache_info().hits) == (size == 16,) * 2
