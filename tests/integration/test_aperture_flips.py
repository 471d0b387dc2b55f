"""An app whose other process rewrites what the worker is about to read, ten million times each:
arguments, an index tensor of Gather, an input of TopK, descriptors.

The worker must copy before it looks: results are those of one state of the arguments, a descriptor
is taken or refused as a whole, and no kernel sees a value change. To know that these tests would
notice, workers that read an argument or a descriptor twice are planted, and found.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from onnx import TensorProto, helper

from host_daemon.worker import queue as worker_queue
from tests.integration.aperture_host import WINDOW, ApertureHost, host
from tests.unit.host_daemon.worker.test_queues import App
from vaccel.aperture import layout, ring
from vaccel.aperture.descriptors import DESCRIPTOR, Op
from vaccel.compute import OnnxSource
from vaccel.errors import VaccelError
from vaccel.rpc import ring_calls, ring_launch
from vaccel.v1 import ring_pb2

FLIPS = 10_000_000
# Calls, or descriptors of each outcome, that must have met the flips.
CALLS = 20
U64 = (1 << 64) - 1
COUNT = 65_536
SINES = 16
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
        number("none", TensorProto.FLOAT, [], [0.0]),
        number("table", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0]),
        number("k", TensorProto.INT64, [1], [COUNT // 2]),
    ]
    nodes = {
        "zero": [
            helper.make_node("Add", ["x", "x"], ["s0"]),
            # Milliseconds between the two, also for a flipper that waits for this core: the second
            # reads by a factor of two that is made of sines of the first.
            *(helper.make_node("Sin", [f"s{n}"], [f"s{n + 1}"]) for n in range(SINES)),
            helper.make_node("Mul", [f"s{SINES}", "none"], ["u"]),
            helper.make_node("Add", ["u", "two"], ["v"]),
            helper.make_node("Mul", ["x", "v"], ["b"]),
            helper.make_node("Sub", ["s0", "b"], ["y"]),
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


async def under_flips(
    served: ApertureHost,
    triples: list[tuple[int, int, int]],
    step: Callable[[], Awaitable[None]],
    enough: Callable[[], bool],
) -> None:
    """Steps of the app while ten million flips are made; as many again where it is not enough.

    On a busy machine the two processes may take turns, and hardly meet.
    """
    for _ in range(64):
        async with flipping(served, FLIPS, *triples) as flipper:
            while flipper.returncode is None:
                await step()
                await asyncio.sleep(0)
        if enough():
            return


async def until_found(
    served: ApertureHost,
    triples: list[tuple[int, int, int]],
    step: Callable[[], Awaitable[None]],
    found: Callable[[], bool],
) -> None:
    """Steps of the app under flips without an end, until something is found."""
    async with flipping(served, 1000 * FLIPS, *triples), asyncio.timeout(60):
        while not found():
            await step()
            await asyncio.sleep(0)


class Summing:
    """Calls that read their argument twice, and the results that show that it was not a copy."""

    def __init__(self, app: App, program: int) -> None:
        self._app, self._fields = app, call_of(app, program, "float32")
        self.triples = [(word, bits(1.0), bits(-3.0)) for word in words_of(app, 50)]
        self.calls = self.torn = 0

    async def step(self) -> None:
        result = await called(self._app, self._fields)
        assert isinstance(result, np.ndarray), result
        self.calls += 1
        self.torn += bool(result.any())


async def test_arguments_are_read_once(tmp_path: Path) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        summing = Summing(app, await load(app, "zero"))
        await under_flips(served, summing.triples, summing.step, lambda: summing.calls >= CALLS)
    assert summing.calls >= CALLS
    assert summing.torn == 0


async def test_a_planted_double_fetch_of_an_argument_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        memory, careful = app.window.bytes, ring_launch.call_of

        def careless(payload: bytes, _fetch: Any) -> ring_launch.Call:
            """The argument itself, where it lies."""
            return careful(payload, lambda place, length: memory[place : place + length])

        monkeypatch.setattr(ring_launch, "call_of", careless)
        summing = Summing(app, await load(app, "zero"))
        await until_found(served, summing.triples, summing.step, lambda: summing.torn > 0)
        await served.executor.close_context(app.context)


@pytest.mark.parametrize(("name", "dtype"), [("pick", "int64"), ("top", "float32")])
async def test_kernels_that_crash_on_torn_inputs_do_not(
    tmp_path: Path, name: str, dtype: str
) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        fields = call_of(app, await load(app, name), dtype)
        good, bad = (1, 1 << 40) if name == "pick" else (bits(1.0), bits(float("nan")))
        triples = [(word, good, bad) for word in words_of(app, 20)]
        results: list[object] = []

        async def step() -> None:
            results.append(await called(app, fields))

        await under_flips(served, triples, step, lambda: len(results) >= CALLS)
    assert len(results) >= CALLS
    errors = [each for each in results if isinstance(each, VaccelError)]
    assert name == "pick" or not errors


class Writing:
    """Turns of descriptors that are rewritten while they are read: taken, or refused, as a whole.

    A write is all that succeeds. So one that succeeded and is something else was read twice.
    """

    BATCH: Final = 16

    def __init__(self, app: App, buffer: int) -> None:
        self._app, self._buffer = app, buffer
        self._start = app.lease.slab_offset
        self._entry = DESCRIPTOR.pack(Op.WRITE, 0, 1, 0, 0, self._start, buffer, 0, 64)
        self.taken = self.refused = self.torn = 0

    def triples(self) -> list[tuple[int, int, int]]:
        """Op, place in the slab, buffer and length of each descriptor, right and wrong."""
        ring = (layout.queue_offset(self._app.lease.queue) + layout.SQ_RING.offset) // 8
        flips = ((0, Op.WRITE, 77), (4, self._start, U64), (5, self._buffer, 99), (7, 64, U64))
        return [
            (ring + entry * layout.SQ_ENTRY // 8 + word, right, wrong)
            for entry in range(layout.SQ_ENTRIES)
            for word, right, wrong in flips
        ]

    async def step(self) -> None:
        for _ in range(self.BATCH):
            self._app.poster.put(self._entry)
        self._app.knock()
        for done in await self._app.answers(self.BATCH):
            self.refused += done.error is not None
            self.taken += done.error is None
            self.torn += done.error is None and done.op != Op.WRITE

    @property
    def both(self) -> bool:
        return self.taken >= CALLS and self.refused >= CALLS


async def test_descriptors_are_taken_or_refused_as_a_whole(tmp_path: Path) -> None:
    async with host(tmp_path) as served, raw_app(served) as app:
        writing = Writing(app, await app.executor.allocate(app.context, 4096))
        await under_flips(served, writing.triples(), writing.step, lambda: writing.both)
        assert writing.both
        assert writing.torn == 0
        assert app.queues.totals.broken == 0
        app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
        await app.fence(1, 1)


class Shared:
    """A descriptor where it lies: whoever unpacks it reads it again."""

    def __init__(self, memory: memoryview, at: int) -> None:
        self._memory, self._at = memory, at

    def __iter__(self) -> Iterator[int]:
        return iter(DESCRIPTOR.unpack_from(self._memory, self._at))

    def __getitem__(self, at: Any) -> Any:
        return DESCRIPTOR.unpack_from(self._memory, self._at)[at]


class Careless(ring.Consumer):
    """Gives descriptors out where they lie."""

    def copy(self, most: int) -> Any:
        """The next descriptors, not copied; completions as ever."""
        if not self._place.name.startswith("submission"):
            return super().copy(most)
        place, first = self._place, self._head
        self._head += min(self.waiting, most)
        places = (number % place.entries for number in range(first, self._head))
        return [Shared(self._memory, place.offset + at * place.entry) for at in places]


class Uncopied:
    """What unpacks descriptors, for the planted worker."""

    iter_unpack = staticmethod(iter)


async def test_a_planted_double_fetch_of_a_descriptor_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path) as served:
        with monkeypatch.context() as planted:
            planted.setattr(ring, "Consumer", Careless)
            planted.setattr(worker_queue, "DESCRIPTOR", Uncopied())
            async with raw_app(served) as app:
                writing = Writing(app, await app.executor.allocate(app.context, 4096))
                triples = [each for each in writing.triples() if each[2] == 77]
                await until_found(served, triples, writing.step, lambda: writing.torn > 0)
                await served.executor.close_context(app.context)
