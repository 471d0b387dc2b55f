"""Fences: given once each, whatever ends a submission."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from vaccel import bounds, errors, patience
from vaccel.commands import Command, Completion, Nop
from vaccel.compute import KernelSource, Program, Progress
from vaccel.session import Session


class Peer:
    """The part of Compute that numbers fences, as a worker does; faults are raised on the way.

    ``before`` and ``after`` hold what to raise before or after a submission was taken.
    """

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}
        self.ran: list[tuple[int, int]] = []
        self.before: list[BaseException] = []
        self.after: list[BaseException] = []
        self.hangs = False
        self.begun = asyncio.Event()

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        if self.before:
            raise self.before.pop(0)
        last = self.taken.get(stream, 0)
        if first_fence > last + 1:
            raise errors.InvalidArgument(f"first fence {first_fence}, expected {last + 1}")
        for fence in range(last + 1, first_fence + len(commands)):
            self.ran.append((stream, fence))
            self.taken[stream] = fence
        self.begun.set()
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.after:
            raise self.after.pop(0)

    async def run(
        self,
        context: str,
        stream: int,
        first_fence: int,
        commands: Sequence[Command],
        timeout: float,
        acknowledged: int = 0,
    ) -> Progress:
        await self.submit(context, stream, first_fence, commands)
        return await self.wait(context, stream, first_fence + len(commands) - 1, timeout)

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        reached = self.taken.get(stream, 0)
        if fence > reached:
            raise errors.InvalidArgument(f"fence {fence} is from the future")
        done = tuple(Completion(f) for f in range(acknowledged + 1, reached + 1))
        return Progress(reached, done)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def opened(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0.0)
    return Session(peer, "ctx")  # type: ignore[arg-type]


async def test_fences_rise_by_one(opened: Session, peer: Peer) -> None:
    stream = opened.stream()
    assert await stream.submit([Nop(), Nop()]) == 2
    assert await stream.run([Nop()], 1.0) == 3
    assert await stream.submit([Nop()]) == 4
    await stream.wait(4, 1.0)
    assert [stream.claim(f).fence for f in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert peer.ran == [(1, 1), (1, 2), (1, 3), (1, 4)]
    with pytest.raises(errors.WrongState, match="taken"):
        stream.claim(4)


async def test_a_refused_submission_takes_no_fence(opened: Session, peer: Peer) -> None:
    stream = opened.stream()
    for fault in (errors.InvalidArgument("x"), errors.Exhausted("x"), errors.NotFound("x")):
        peer.before.append(fault)
        with pytest.raises(type(fault)):
            await stream.submit([Nop()])
    assert await stream.submit([Nop()]) == 1
    assert peer.ran == [(1, 1)]


@pytest.mark.parametrize(
    "fault", [errors.Unavailable("x"), errors.TimedOut("x"), errors.Internal("x")]
)
@pytest.mark.parametrize("taken", [False, True])
async def test_a_submission_of_unknown_fate_gets_a_new_stream(
    opened: Session, peer: Peer, fault: errors.VaccelError, taken: bool
) -> None:
    stream = opened.stream()
    await stream.submit([Nop()])
    (peer.after if taken else peer.before).append(fault)
    with pytest.raises(type(fault)):
        await stream.submit([Nop(), Nop()])
    assert (stream.number, await stream.submit([Nop()])) == (2, 1)
    assert peer.ran[-1] == (2, 1)  # a command that was never given is never passed over
    assert await stream.run([Nop()], 1.0) == 2


async def test_a_cancelled_submission_gets_a_new_stream(opened: Session, peer: Peer) -> None:
    stream = opened.stream()
    peer.hangs = True
    work = asyncio.create_task(stream.run([Nop()], 1.0))
    await peer.begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    peer.hangs = False
    assert (stream.number, await stream.run([Nop()], 1.0)) == (2, 1)


async def test_a_refusal_after_a_lost_answer_gets_a_new_stream(
    opened: Session, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 20.0)
    stream = opened.stream()
    peer.after.append(errors.Unavailable("the answer was lost"))
    work = asyncio.create_task(stream.submit([Nop()]))
    await peer.begun.wait()
    peer.before.append(errors.Exhausted("too many calls"))
    with pytest.raises(errors.Exhausted):
        await work
    assert peer.ran == [(1, 1)]
    assert (stream.number, await stream.submit([Nop()])) == (2, 1)


async def test_a_lost_answer_is_asked_for_again(
    opened: Session, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 20.0)
    stream = opened.stream()
    peer.after.append(errors.Unavailable("the answer was lost"))
    assert await stream.submit([Nop()]) == 1
    assert peer.ran == [(1, 1)]


@pytest.mark.parametrize("taken", [False, True])
async def test_a_run_that_timed_out_keeps_its_fence(
    opened: Session, peer: Peer, taken: bool
) -> None:
    stream = opened.stream()
    (peer.after if taken else peer.before).append(errors.TimedOut("the wait took too long"))
    with pytest.raises(errors.TimedOut):
        await stream.run([Nop()], 1.0)
    assert peer.ran == [(1, 1)]  # it goes on, and once only
    assert await stream.run([Nop()], 1.0) == 2
    assert peer.ran == [(1, 1), (1, 2)]


async def test_old_fences_are_not_those_of_the_new_stream(opened: Session, peer: Peer) -> None:
    stream = opened.stream()
    number, fence = stream.number, await stream.submit([Nop()])
    peer.before.append(errors.TimedOut("x"))
    with pytest.raises(errors.TimedOut):
        await stream.submit([Nop()])
    await stream.submit([Nop()])
    with pytest.raises(errors.Unavailable, match="stream 1 was left behind"):
        await stream.wait(fence, 1.0, number)
    with pytest.raises(errors.Unavailable, match="stream 1 was left behind"):
        stream.claim(fence, number)


async def test_a_context_without_streams_left_says_so_once_it_matters(
    opened: Session, peer: Peer
) -> None:
    stream = opened.stream()
    while True:
        try:
            opened.stream()
        except errors.Exhausted:
            break
    peer.before.append(errors.TimedOut("the first fault is what is told"))
    with pytest.raises(errors.TimedOut):
        await stream.submit([Nop()])
    with pytest.raises(errors.Exhausted, match="streams"):
        await stream.submit([Nop()])


class Resettable(Peer):
    """A peer whose contexts end: all that is asked of one that ended gives DeviceLost."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts = ["ctx-0"]
        self.loaded: dict[str, list[int]] = {"ctx-0": []}
        self.refuses = 0

    def reset(self) -> None:
        self.loaded.clear()

    async def reopen(self, context: str) -> str:
        assert context == self.contexts[-1]
        if self.refuses:
            self.refuses -= 1
            raise errors.DeviceLost("VF is being reset")
        self.contexts.append(f"ctx-{len(self.contexts)}")
        self.loaded[self.contexts[-1]] = []
        self.taken.clear()
        return self.contexts[-1]

    def check(self, context: str) -> None:
        if context not in self.loaded:
            raise errors.DeviceLost(f"context {context} ended when its VF was reset")

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        self.check(context)
        await super().submit(context, stream, first_fence, commands)

    async def load_program(self, context: str, source: KernelSource) -> Program:
        self.check(context)
        number = 1000 * len(self.contexts) + len(self.loaded[context])
        self.loaded[context].append(number)
        return Program(number, (), (), 0, 1, "")


@pytest.fixture
def reset() -> tuple[Session, Resettable]:
    peer = Resettable()
    return Session(peer, "ctx-0", peer.reopen), peer  # type: ignore[arg-type]


async def test_after_a_reset_the_next_call_has_the_programs_again(
    reset: tuple[Session, Resettable],
) -> None:
    session, peer = reset
    programs = [await session.load_kernel(KernelSource(name, ())) for name in "abc"]
    stream = session.stream()
    fence = await stream.submit([Nop()])
    number = stream.number
    for resets in (1, 2):
        peer.reset()
        peer.refuses = 2
        with pytest.raises(errors.DeviceLost):
            await stream.submit([Nop()])
        assert await stream.submit([Nop()]) == 1
        assert session.context == f"ctx-{resets}"
        assert [session.programs.number(one.id) for one in programs] == peer.loaded[session.context]
    with pytest.raises(errors.DeviceLost):
        await stream.wait(fence, 1.0, number)


async def test_many_calls_after_a_reset_open_one_context(
    reset: tuple[Session, Resettable],
) -> None:
    session, peer = reset
    streams = [session.stream() for _ in range(8)]
    peer.reset()
    with pytest.raises(errors.DeviceLost):
        await streams[0].submit([Nop()])
    await asyncio.gather(*(stream.submit([Nop()]) for stream in streams))
    assert peer.contexts == ["ctx-0", "ctx-1"]


async def test_without_a_way_to_reopen_a_lost_session_stays_lost() -> None:
    peer = Resettable()
    session = Session(peer, "ctx-0")  # type: ignore[arg-type]
    stream = session.stream()
    peer.reset()
    for _ in range(2):
        with pytest.raises(errors.DeviceLost):
            await stream.submit([Nop()])


async def test_streams_do_not_run_out_over_resets(reset: tuple[Session, Resettable]) -> None:
    session, peer = reset
    stream = session.stream()
    for _ in range(3 * bounds.STREAMS_PER_CONTEXT):
        peer.reset()
        with pytest.raises(errors.DeviceLost):
            await stream.submit([Nop()])
        assert await stream.submit([Nop()]) == 1
        assert 0 < stream.number < 2 * bounds.STREAMS_PER_CONTEXT
