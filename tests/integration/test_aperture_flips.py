"""An app whose other process rewrites what the worker is about to read, ten million times.

The worker must copy before it looks: results are those of one state of the arguments, a descriptor
is taken or refused as a whole, and no kernel sees a value change. To know that these tests would
notice, a worker that reads twice is planted, and found.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from host_daemon.worker.slab import LentSlab
from tests.integration.aperture_host import WINDOW, ApertureHost, host
from tests.unit.host_daemon.worker.test_queues import App
from vaccel.aperture import layout
from vaccel.aperture.descriptors import DESCRIPTOR, Op
from vaccel.compute import OnnxSource
from vaccel.errors import VaccelError
from vaccel.rpc import ring_calls, ring_launch
from vaccel.v1 import ring_pb2

FLIPS = 10_000_000
COUNT = 65_536
REPLY = 1 << 16
# Where in the slab things are: the reply, the request, the argument, the room for results.
REQUEST, ARGUMENT, ROOM = REPLY, 2 * REPLY, 1 << 20


def encoded(name: str) -> bytes:
    """``zero`` reads its input twice and subtracts; ``pick`` and ``top`` crash on a torn one."""
    kind = TensorProto.INT64 if name == "pick" else TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", kind, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    number = helper.make_tensor
    weights = [
        number("two", TensorProto.FLOAT, [], [2.0]),
        number("table", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0]),
        number("k", TensorProto.INT64, [1], [COUNT // 2]),
    ]
    nodes = {
        "zero": [
            helper.make_node("Add", ["x", "x"], ["a"]),
            helper.make_node("Mul", ["x", "two"], ["b"]),
            helper.make_node("Sub", ["a", "b"], ["y"]),
        ],
        "pick": [helper.make_node("Gather", ["table", "x"], ["y"])],
        "top": [helper.make_node("TopK", ["x", "k"], ["y", "at"])],
    }[name]
    used = {operand for node in nodes for operand in node.input}
    graph = helper.make_graph(nodes, name, [x], [y], [w for w in weights if w.name in used])
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


@asynccontextmanager
async def raw_app(served: ApertureHost) -> AsyncIterator[App]:
    context = await served.executor.open_context()
    lease = await served.executor.lend_queue(context, 4 << 20)
    yield App(
        served.executor, served.queues, served.window, served.doorbell, context, lease
    )


async def load(app: App, name: str) -> int:
    data = encoded(name)
    buffer = await app.executor.allocate(app.context, len(data))
    await app.executor.write(app.context, buffer, 0, data)
    loaded = await app.executor.load_program(app.context, OnnxSource(buffer, 0, len(data)))
    return loaded.id


@asynccontextmanager
async def flipping(
    served: ApertureHost, count: int, *triples: tuple[int, int, int]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A second process at work; a triple is a word of the window and two values for it."""
    numbers = [str(n) for triple in triples for n in triple]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("flipper.py")),
        *(str(n) for n in (served.memfd, WINDOW, count)),
        *numbers,
        pass_fds=[served.memfd],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"flipping\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def call_of(app: App, program: int, dtype: str) -> tuple[int, ...]:
    """Put the request into the slab; the descriptor's fields."""
    start = app.lease.slab_offset
    made = ring_pb2.CallRequest(stream=3, program=program)
    made.room_offset, made.room_bytes = start + ROOM, 1 << 20
    made.staged["x"].dtype, made.staged["x"].offset = dtype, start + ARGUMENT
    made.staged["x"].shape.append(COUNT)
    payload = made.SerializeToString()
    app.window.bytes[start + REQUEST : start + REQUEST + len(payload)] = payload
    return (Op.CALL, 0, 1, 0, 0, start + REQUEST, len(payload), start, REPLY)


async def called(app: App, fields: tuple[int, ...]) -> np.ndarray[Any, Any] | VaccelError:
    app.send(*fields)
    (done,) = await app.answers(1)
    start = app.lease.slab_offset
    reply = bytes(app.window.bytes[start : start + min(done.value, REPLY)])
    if done.error is not None:
        return ring_calls.decode_error(reply) if reply else done.error
    found = ring_launch.reply_of(reply)
    if found.completion.error is not None:
        return found.completion.error
    (tensor,) = found.staged.values()
    return np.frombuffer(app.window.bytes, np.float32, tensor.shape[0], tensor.offset).copy()


def words_of(app: App, count: int = 1) -> list[int]:
    """Words in the middle of the argument."""
    first = (app.lease.slab_offset + ARGUMENT) // 8
    return [first + COUNT // 4 + n * 97 for n in range(count)]


def bits(value: float) -> int:
    """A word of two equal floats."""
    return int(np.array([value, value], np.float32).view(np.uint64)[0])


async def torn(served: ApertureHost, app: App, flips: int) -> int:
    """Calls under flips whose result shows that the argument was read twice."""
    fields = call_of(app, await load(app, "zero"), "float32")
    found = calls = 0
    triples = [(word, bits(1.0), bits(-3.0)) for word in words_of(app, 50)]
    async with flipping(served, flips, *triples) as flipper:
        while flipper.returncode is None or not calls:
            result = await called(app, fields)
            assert isinstance(result, np.ndarray), result
            found += bool(result.any())
            calls += 1
            await asyncio.sleep(0)
            if found and flips > FLIPS:
                return found
    return found


async def test_arguments_are_read_once(tmp_path: Path) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        assert await torn(served, app, FLIPS) == 0


async def test_a_planted_double_fetch_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: LentSlab, place: int, length: int) -> Any:
        """The argument itself, where it lies; the message still as a copy."""
        view = self._window.bytes[place : place + length]
        return view if length > REPLY else bytes(view)

    monkeypatch.setattr(LentSlab, "fetch", careless)
    async with host(tmp_path) as served, raw_app(served) as app:
        # The endless flipper is ended at the first find.
        assert await torn(served, app, 100 * FLIPS) > 0
        await served.executor.close_context(app.context)


@pytest.mark.parametrize(("name", "dtype"), [("pick", "int64"), ("top", "float32")])
async def test_kernels_that_crash_on_torn_inputs_do_not(
    tmp_path: Path, name: str, dtype: str
) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        fields = call_of(app, await load(app, name), dtype)
        good, bad = (1, 1 << 40) if name == "pick" else (bits(1.0), bits(float("nan")))
        triples = [(word, good, bad) for word in words_of(app, 20)]
        results = errors = 0
        async with flipping(served, FLIPS // 4, *triples) as flipper:
            while flipper.returncode is None:
                result = await called(app, fields)
                results += isinstance(result, np.ndarray)
                errors += isinstance(result, VaccelError)
                await asyncio.sleep(0)
        assert results + errors > 0
        assert name == "pick" or not errors


async def test_descriptors_are_taken_or_refused_as_a_whole(tmp_path: Path) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        buffer = await app.executor.allocate(app.context, 4096)
        start = app.lease.slab_offset
        ring = (layout.queue_offset(app.lease.queue) + layout.SQ_RING.offset) // 8
        u64 = (1 << 64) - 1
        triples = []
        for entry in range(16):
            word = ring + entry * layout.SQ_ENTRY // 8
            triples += [(word + 5, start, u64), (word + 6, buffer, 99), (word + 8, 64, u64)]
        refused = taken = 0
        for _ in range(8):  # on a busy machine the two may take turns, and never meet
            async with flipping(served, FLIPS // 4, *triples) as flipper:
                while flipper.returncode is None:
                    for _ in range(16):
                        app.poster.put(
                            DESCRIPTOR.pack(Op.WRITE, 0, 1, 0, 0, start, buffer, 0, 64)
                        )
                    app.knock()
                    for done in await app.answers(16):
                        refused += done.error is not None
                        taken += done.error is None
            if taken and refused:
                break
        assert taken
        assert refused
        assert app.queues.totals.broken == 0
        app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
        await app.fence(1, 1)
