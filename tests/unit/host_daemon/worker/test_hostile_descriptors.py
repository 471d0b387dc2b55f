"""Every field of every descriptor with every value that makes no sense: refused, counted, harmless.

A descriptor that is good in all other fields gets one bad field at a time. What it asks for must
not happen, and nothing outside the app's own slab and rings may change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import pytest

from host_daemon.worker.executor import Executor
from tests.conformance import models
from tests.unit.host_daemon.worker.test_queues import App, app  # noqa: F401 - a fixture
from vaccel.aperture import layout
from vaccel.aperture.descriptors import TOO_LARGE, Completion, Op
from vaccel.commands import Copy, Fill, Launch, Nop, Signal, WaitFence
from vaccel.compute import OnnxSource
from vaccel.errors import InvalidArgument, NotFound, VaccelError
from vaccel.model import BufferRange
from vaccel.rpc import ring_calls, ring_launch
from vaccel.v1 import ring_pb2

U64: Final = (1 << 64) - 1
TOP: Final = 1 << 63
BYTES: Final = 256  # of the buffer
LENGTH: Final = 64  # that is moved
# Where in the slab things are.
DATA, REQUEST, REPLY, REPLY_BYTES = 0, 8192, 16384, 4096
# The words of a descriptor.
FLAGS, STREAM, FENCE, A, B, C, D = 1, 3, 4, 5, 6, 7, 8
REFUSALS = (InvalidArgument, NotFound)


@dataclass
class Target:
    """An app, and what is good to name in its descriptors."""

    app: App
    buffer: int
    program: int
    recording: int
    foreign: dict[str, int]
    streams: int = 10

    @property
    def totals(self) -> tuple[int, int]:
        """Descriptors that were malformed, and commands that failed."""
        return self.app.queues.totals.malformed, self.app.executor.usage().errors

    def place(self, at: int) -> int:
        return self.app.lease.slab_offset + at

    def request(self, payload: bytes) -> int:
        start = self.place(REQUEST)
        self.app.window.bytes[start : start + len(payload)] = payload
        return len(payload)

    def good(self, op: Op) -> list[int]:
        """A descriptor that does something."""
        self.streams += 1  # each with fences of its own
        stream, start = self.streams % 30 + 10, self.place(0)
        nop = ring_calls.to_submission(5, 1, [Nop()])
        match op:
            case Op.NOP:
                return [op, 0, 9, 40, 1, 0, 0, 0, 0]
            case Op.WRITE | Op.READ:
                return [op, 0, 9, 0, 0, start + DATA, self.buffer, 8, LENGTH]
            case Op.RECORD:
                return [op, 0, 9, 0, 0, start + REQUEST, self.request(nop), 0, 0]
            case Op.REPLAY:
                return [op, 0, 9, stream, 1, self.recording, 0, 0, 0]
            case Op.FORGET:
                return [op, 0, 9, 0, 0, self.recording, 0, 0, 0]
            case Op.WAIT:
                payload = ring_calls.to_wait(5, 0, 1.0, 0)
            case Op.CALL:
                payload = call_of(self).SerializeToString()
            case _:
                payload = nop
        length = self.request(payload)
        return [op, 0, 9, 0, 0, start + REQUEST, length, start + REPLY, REPLY_BYTES]


def call_of(target: Target) -> ring_pb2.CallRequest:
    made = ring_pb2.CallRequest(
        stream=3, program=target.program, room_offset=target.place(DATA), room_bytes=64
    )
    made.staged["x"].dtype, made.staged["x"].offset = "float32", target.place(DATA)
    made.staged["x"].shape.extend((2, 4))
    return made


@pytest.fixture
async def target(app: App) -> AsyncIterator[Target]:  # noqa: F811
    executor = app.executor
    buffer = await executor.allocate(app.context, BYTES)
    program = await load(executor, app.context)
    made = Target(app, buffer, program, 0, {})
    app.send(*made.good(Op.RECORD))
    made.recording = (await app.answers(1))[0].value
    # What another context of the VF has, by number.
    other = await executor.open_context()
    for _ in range(4):  # numbers are each context's own: the last ones are only of that one
        made.foreign["buffer"] = await executor.allocate(other, BYTES)
        made.foreign["program"] = await load(executor, other)
    yield made


async def load(executor: Executor, context: str) -> int:
    data = models.build("affine")
    buffer = await executor.allocate(context, len(data))
    await executor.write(context, buffer, 0, data)
    return (await executor.load_program(context, OnnxSource(buffer, 0, len(data)))).id


def offsets(target: Target, length: int) -> list[int]:
    """Into the header, the status page, the rings, over either end of the slab, past 2^64."""
    start, end = target.place(0), target.place(target.app.lease.slab_bytes)
    pages = [0, layout.STATUS_OFFSET, layout.RINGS_OFFSET, target.app.window.size]
    return [*pages, start - 1, end - length + 1, end, TOP, U64, U64 - length + 1]


def lengths(target: Target) -> list[int]:
    return [target.app.lease.slab_bytes + 1, target.app.window.size, TOP, U64]


def numbers(target: Target, kind: str = "") -> list[int]:
    return [0, 99, TOP, U64, *([target.foreign[kind]] if kind else [])]


def bad_values(target: Target, op: Op) -> dict[int, list[int]]:
    """By word: what makes no sense there."""
    fences = [0, 2, 1 << 40, TOP, U64]
    flags = {FLAGS: [1, 2, 1 << 31, (1 << 32) - 1]}
    streams = {STREAM: [layout.FENCE_WORDS, layout.SQ_ENTRIES, 1 << 40, TOP, U64]}
    calls = {A: offsets(target, 8), B: lengths(target), C: offsets(target, REPLY_BYTES)}
    match op:
        case Op.NOP:
            return flags | streams | {FENCE: fences}
        case Op.WRITE | Op.READ:
            inside = [BYTES - LENGTH + 1, BYTES, TOP, U64, U64 - LENGTH + 1]
            return flags | {
                A: offsets(target, LENGTH),
                B: numbers(target, "buffer"),
                C: inside,
                D: [BYTES + 1, *lengths(target)],
            }
        case Op.RECORD:
            return flags | {A: calls[A], B: [0, *lengths(target)]}
        case Op.REPLAY:
            return flags | streams | {A: numbers(target), FENCE: fences}
        case Op.FORGET:
            return flags | {A: numbers(target)}
        case Op.WAIT | Op.SUBMIT | Op.RUN | Op.CALL:
            return flags | calls | {D: lengths(target)}


def surroundings(target: Target) -> bytes:
    """All that is not the app's own, nor counts what it does: header, other queue pairs, slabs."""
    window, lease = target.app.window, target.app.lease
    counted = layout.STATUS_OFFSET + len(layout.STATUS_FIELDS) * layout.WORD
    own = layout.queue_offset(lease.queue)
    parts = [
        window.bytes[: layout.STATUS_OFFSET],
        window.bytes[counted:own],
        window.bytes[own + layout.QUEUE_BYTES : lease.slab_offset],
        window.bytes[lease.slab_offset + lease.slab_bytes :],
    ]
    return b"".join(bytes(part) for part in parts)


@pytest.mark.parametrize("op", list(Op))
async def test_one_bad_field_at_a_time(target: Target, op: Op) -> None:
    app, before = target.app, surroundings(target)  # noqa: F811
    await app.executor.write(app.context, target.buffer, 0, b"k" * BYTES)
    count = 0
    for word, values in bad_values(target, op).items():
        for value in values:
            bad = target.good(op)
            bad[word] = value
            malformed, _ = target.totals
            app.send(*bad)
            (done,) = await app.answers(1)
            assert (done.op, done.tag) == (op, 9)
            assert isinstance(done.error, REFUSALS), (op.name, word, hex(value))
            assert target.totals[0] == malformed + 1, (op.name, word, hex(value))
            count += 1
    assert count > 4
    assert surroundings(target) == before
    kept = await app.executor.read(app.context, target.buffer, 0, BYTES)
    assert kept == b"k" * BYTES
    # The queue works as ever, and the good descriptor is good.
    malformed, _ = target.totals
    app.send(*target.good(op))
    if op in (Op.NOP, Op.REPLAY):
        app.send(*target.good(Op.WRITE))  # a fence alone says that those are done
    assert [one.error for one in await app.answers(1)] == [None]
    assert target.totals[0] == malformed
    assert app.queues.totals.broken == 0


async def test_ops_that_are_none(target: Target) -> None:
    for op in (0, len(Op) + 1, 1 << 16, (1 << 32) - 1):
        target.app.send(op, 0, 9, 1, 1, 1, 1, 1, 1)
        (done,) = await target.app.answers(1)
        assert (done.op, done.tag) == (op, 9) and isinstance(done.error, InvalidArgument)


def submissions(target: Target) -> list[tuple[str, bytes]]:
    """Requests that can be read, and name what is not there."""
    buffer, foreign = target.buffer, target.foreign
    commands = {
        "a buffer of another context": Fill(BufferRange(foreign["buffer"]), 8, b"x"),
        "no buffer": Fill(BufferRange(U64), 8, b"x"),
        "past the end": Fill(BufferRange(buffer, BYTES - 7), 8, b"x"),
        "an offset past 2^63": Fill(BufferRange(buffer, TOP), 8, b"x"),
        "a length past 2^63": Fill(BufferRange(buffer), TOP, b"x"),
        "overlapping past the end": Copy(BufferRange(buffer, 1), BufferRange(buffer), BYTES),
        "a program of another context": Launch(foreign["program"], {}),
        "no program": Launch(U64, {}),
        "a fence of the future": WaitFence(5, 1000),
        "a fence past 2^63": WaitFence(5, U64),
        "a signal backwards": Signal(5, 0),
    }
    made = []
    for number, (what, command) in enumerate(commands.items()):
        payload = ring_calls.to_submission(20 + number, 1, [command])
        made.append((what, payload))
    for first in (0, 2, 1 << 40, U64):
        made.append((f"first fence {first}", ring_calls.to_submission(4, first, [Nop()])))
    made.append(("noise", b"\xff" * 64))
    return made


async def test_requests_that_name_what_is_not_there(target: Target) -> None:
    app, before = target.app, surroundings(target)  # noqa: F811
    await app.executor.write(app.context, target.buffer, 0, b"k" * BYTES)
    for what, payload in submissions(target):
        counted = sum(target.totals)
        good = target.good(Op.RUN)
        good[B] = target.request(payload)
        app.send(*good)
        (done,) = await app.answers(1)
        error = done.error or failed(app, done)
        assert isinstance(error, VaccelError), what
        assert sum(target.totals) == counted + 1, (what, error)
    assert surroundings(target) == before
    kept = await app.executor.read(app.context, target.buffer, 0, BYTES)
    assert kept == b"k" * BYTES


def failed(app: App, done: Completion) -> VaccelError | None:  # noqa: F811
    """The error of the first command, from the reply of a RUN."""
    start = app.lease.slab_offset + REPLY
    assert done.value != TOO_LARGE
    progress = ring_calls.progress_of_reply(bytes(app.window.bytes[start : start + done.value]))
    return progress.completions[0].error


BAD_CALLS: dict[str, Callable[[ring_pb2.CallRequest, Target], None]] = {
    "a program of another context": lambda made, at: setattr(
        made, "program", at.foreign["program"]
    ),
    "no program": lambda made, _: setattr(made, "program", U64),
    "a tensor in the header": lambda made, _: setattr(made.staged["x"], "offset", 0),
    "a tensor in the rings": lambda made, _: setattr(
        made.staged["x"], "offset", layout.RINGS_OFFSET
    ),
    "a tensor past 2^64": lambda made, _: setattr(made.staged["x"], "offset", U64 - 8),
    "a room past 2^64": lambda made, _: setattr(made, "room_offset", U64 - 8),
    "a room of the whole window": lambda made, _: setattr(made, "room_bytes", U64),
    "more elements than there are bytes": lambda made, _: made.staged["x"].shape.append(TOP),
    "no such type": lambda made, _: setattr(made.staged["x"], "dtype", "float32\0"),
    "no such argument": lambda made, _: made.staged["y"].CopyFrom(made.staged["x"]),
}


@pytest.mark.parametrize("what", sorted(BAD_CALLS))
async def test_a_call_with_one_bad_field(target: Target, what: str) -> None:
    app, before = target.app, surroundings(target)  # noqa: F811
    made = call_of(target)
    BAD_CALLS[what](made, target)
    good = target.good(Op.CALL)
    good[B] = target.request(made.SerializeToString())
    counted = sum(target.totals)
    app.send(*good)
    (done,) = await app.answers(1)
    start = app.lease.slab_offset + REPLY
    reply = bytes(app.window.bytes[start : start + min(done.value, REPLY_BYTES)])
    error = done.error or ring_launch.reply_of(reply).completion.error
    assert error is not None, what
    assert sum(target.totals) == counted + 1, error
    assert surroundings(target) == before
