"""Recordings are held in the VF's device memory; and what no descriptor should ever raise."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from host_daemon.worker.memory import DeviceMemory
from host_daemon.worker.recordings import Recordings, bytes_held
from tests.unit.host_daemon.worker.test_queues import App, app, until  # noqa: F401 - a fixture
from vaccel import bounds
from vaccel.aperture import layout
from vaccel.aperture.descriptors import DESCRIPTOR, Completion, Op
from vaccel.commands import Command, Launch, Nop, Result, Store
from vaccel.errors import Exhausted, Internal, InvalidArgument, NotFound
from vaccel.model import BufferRange, DType, Items, Nothing, Strings, Tensor
from vaccel.rpc import ring_calls

MIB = 1 << 20
HERE = BufferRange(1)


def store(size: int) -> bytes:
    return ring_calls.to_recording([Store(HERE, bytes(size))])


async def record(app: App, payload: bytes) -> Completion:  # noqa: F811
    start = app.lease.slab_offset
    app.window.bytes[start : start + len(payload)] = payload
    app.send(Op.RECORD, 0, 1, 0, 0, start, len(payload), 0, 0)
    (done,) = await app.answers(1)
    return done


def used(app: App) -> int:  # noqa: F811
    return app.executor.usage().memory_bytes


async def test_what_is_recorded_is_counted_until_it_is_forgotten(app: App) -> None:  # noqa: F811
    size = MIB // 2
    numbers = [(await record(app, store(size))).value for _ in range(3)]
    assert 3 * size < used(app) < 3 * size + 3 * 4096
    app.send(Op.FORGET, 0, 1, 0, 0, numbers[0], 0, 0, 0)
    assert (await app.answers(1))[0].error is None
    assert 2 * size < used(app) < 3 * size
    # Asking for the queue pair again drops what it had.
    await app.executor.lend_queue(app.context)
    assert used(app) == 0


async def test_recordings_go_with_their_context(app: App) -> None:  # noqa: F811
    await record(app, store(1000))
    assert used(app) > 1000
    await app.executor.close_context(app.context)
    assert used(app) == 0


async def test_recordings_go_with_a_queue_that_breaks_or_is_reset(app: App) -> None:  # noqa: F811
    await record(app, store(1000))
    base = layout.queue_offset(app.lease.queue) // 8
    app.window.words[base + layout.SQ_TAIL.word] = 1 << 40
    app.knock()
    await until(lambda: app.queues.totals.broken == 1)
    assert used(app) == 0
    again = await app.executor.lend_queue(app.context)
    fresh = App(app.executor, app.queues, app.window, app.doorbell, app.context, again)
    await record(fresh, store(1000))
    assert used(app) > 1000
    await app.executor.begin_epoch(4)
    assert used(app) == 0


async def test_a_recording_that_does_not_fit_says_how_many_bytes_are_free(
    app: App,  # noqa: F811
) -> None:
    profile = (await app.executor.devices())[0].memory_free_bytes
    await app.executor.allocate(app.context, profile - MIB)
    assert (await record(app, store(MIB // 2))).error is None
    before = used(app)
    for size in (MIB // 2, MIB // 2 - 100):  # as it came, or when it is unpacked
        done = await record(app, store(size))
        assert isinstance(done.error, Exhausted)
        assert "recording needs" in str(done.error) and "free" in str(done.error)
        assert used(app) == before
    assert (await record(app, store(1000))).error is None


def test_what_does_not_fit_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_calls, "recording_of", None)
    memory = DeviceMemory(1000)
    with pytest.raises(Exhausted, match="1000 of 1000 are free"):
        Recordings(memory, 0).add(bytes(1001))
    assert memory.used == 0


def test_a_request_that_cannot_be_read_holds_nothing() -> None:
    memory = DeviceMemory(1 << 20)
    made = Recordings(memory, 0)
    with pytest.raises(InvalidArgument):
        made.add(b"\xff" * 100)
    assert memory.used == 0
    number = made.add(ring_calls.to_recording([Nop()] * 10))
    assert made.find(number).idle and memory.used == made.find(number).held
    made.clear()
    assert memory.used == 0
    with pytest.raises(NotFound, match=f"recording {number}"):
        made.forget(number)


def small_things() -> list[tuple[str, list[Command]]]:
    """Much memory from few bytes."""
    result = (Result("y", HERE),)
    many = Strings((40_000,), tuple(f"{n % 90:02}" for n in range(40_000)))
    wide = Strings((2,), ("a" * 30_000 + "\U0001f600", "b"))
    nothing = Items(tuple(Nothing() for _ in range(20_000)))
    empty = Items(tuple(Tensor(DType.INT8, (0,), data=b"") for _ in range(5_000)))
    return [
        ("null commands", [Nop()] * bounds.COMMANDS_PER_SUBMIT),
        ("one byte each", [Store(HERE, b"x")] * bounds.COMMANDS_PER_SUBMIT),
        ("short strings", [Launch(1, {"x": many}, result)]),
        ("wide strings", [Launch(1, {"x": wide}, result)]),
        ("nothings", [Launch(1, {"x": nothing}, result)]),
        ("empty tensors", [Launch(1, {"x": empty}, result)]),
        ("names", [Launch(1, {f"{n}": Nothing() for n in range(4000)}, result)]),
    ]


@pytest.mark.parametrize(("what", "commands"), small_things(), ids=[n for n, _ in small_things()])
def test_it_is_counted_at_what_it_takes_in_memory(what: str, commands: list[Command]) -> None:
    payload = ring_calls.to_recording(commands)
    ring_calls.recording_of(payload)  # what is made once, by whoever comes first, is not its own
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        made = ring_calls.recording_of(payload)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= bytes_held(made) + 4096, what


# --- what is no error of ours to tell -----------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"), [(MemoryError(), Exhausted), (KeyError("planted"), Internal)]
)
@pytest.mark.parametrize("op", [Op.RECORD, Op.WRITE, Op.RUN, Op.REPLAY, Op.NOP])
async def test_an_exception_ends_its_own_descriptor_and_no_other(
    app: App,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    kind: type,
    op: Op,
) -> None:
    start = app.lease.slab_offset
    payload = ring_calls.to_submission(5, 1, [Nop()])
    app.window.bytes[start : start + len(payload)] = payload
    recording = (await record(app, payload)).value
    app.send(Op.NOP, 0, 0, 3, 1, 0, 0, 0, 0)
    await app.fence(3, 1)

    def planted(*_arguments: Any, **_options: Any) -> None:
        raise fault

    where: dict[Op, tuple[Any, str]] = {
        Op.RECORD: (app.queue._recordings, "add"),
        Op.WRITE: (app.queue._context.buffers, "find"),
        Op.RUN: (app.executor, "run"),
        Op.REPLAY: (app.executor, "accept"),
        Op.NOP: (app.executor, "pass_nops"),
    }
    operands = {
        Op.RECORD: (0, 0, start, len(payload), 0, 0),
        Op.WRITE: (0, 0, start, 1, 0, 8),
        Op.RUN: (0, 0, start, len(payload), start + 4096, 1024),
        Op.REPLAY: (6, 1, recording, 0, 0, 0),
        Op.NOP: (3, 2, 0, 0, 0, 0),
    }
    monkeypatch.setattr(*where[op], planted)
    bad = (op, 0, 7, *operands[op])
    behind = (77, 0, 8, 0, 0, 0, 0, 0, 0)
    app.poster.put(DESCRIPTOR.pack(*bad) + DESCRIPTOR.pack(*behind))
    app.knock()
    done = {one.tag: one for one in await app.answers(2)}
    assert set(done) == {7, 8}
    assert type(done[7].error) is kind, done[7].error
    assert app.queues.totals.malformed == 1  # the one behind
    monkeypatch.undo()
    app.send(Op.NOP, 0, 0, 3, 2, 0, 0, 0, 0)
    await app.fence(3, 2)
    assert app.queues.totals.broken == 0


async def test_a_queue_that_cannot_answer_breaks_and_its_neighbour_goes_on(
    app: App,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = await app.executor.open_context()
    lease = await app.executor.lend_queue(other, 4096)
    neighbour = App(app.executor, app.queues, app.window, app.doorbell, other, lease)

    def planted(*_arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(app.queue._poster, "stage", planted)
    app.poster.put(DESCRIPTOR.pack(77, 0, 1, 0, 0, 0, 0, 0, 0))
    neighbour.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await neighbour.fence(1, 1)
    state = (layout.queue_offset(app.lease.queue) + layout.QUEUE_STATE.offset) // 8
    assert app.window.words[state] == layout.BROKEN
    assert (app.queues.totals.broken, app.queue.broken) == (1, True)


@pytest.mark.parametrize(
    ("fault", "kind"), [(MemoryError(), Exhausted), (KeyError("planted"), Internal)]
)
async def test_an_exception_ends_its_own_command_and_no_other(
    app: App,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    kind: type,
    tmp_path: Path,
) -> None:
    buffer = await app.executor.allocate(app.context, 8)
    context = app.executor._contexts.find(app.context)

    def planted(*_arguments: Any) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(context.buffers, "view", planted)
        await app.executor.submit(app.context, 1, 1, [Store(BufferRange(buffer), b"x")])
        progress = await app.executor.wait(app.context, 1, 1, 10)
    assert type(progress.completions[0].error) is kind
    async with asyncio.timeout(10):
        await app.executor.run(app.context, 1, 2, [Store(BufferRange(buffer), b"x")], 10)
