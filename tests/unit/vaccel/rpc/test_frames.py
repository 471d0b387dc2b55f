"""The private link: whole frames only, whatever is cancelled; what is none ends the connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from vaccel import bounds
from vaccel.errors import TimedOut, Unavailable, Unsupported
from vaccel.model import Usage
from vaccel.rpc.frames import CANCEL, HEADER, REPLY, REQUEST, Frame, FrameSocket, parse
from vaccel.rpc.link import serve_link
from vaccel.rpc.link_client import LinkCompute
from vaccel.v1 import compute_pb2 as pb

LARGE = bytes(4 * bounds.MIB)  # more than a socket takes at once


@contextlib.contextmanager
def pair() -> Iterator[tuple[FrameSocket, FrameSocket]]:
    ours, theirs = map(FrameSocket, socket.socketpair(socket.AF_UNIX))
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


async def test_frames_arrive_as_they_were_sent() -> None:
    with pair() as (ours, theirs):
        for frame in (
            Frame(1, REQUEST, "Write", b"data"),
            Frame((1 << 64) - 1, REPLY, "", b""),
            Frame(7, CANCEL, "x" * 255, b"\0"),
        ):
            await ours.send(frame)
            assert await theirs.receive() == frame
        sending = asyncio.create_task(ours.send(Frame(2, REPLY, "Read", LARGE)))
        assert await theirs.receive() == Frame(2, REPLY, "Read", LARGE)
        await sending
        ours.close()
        assert await theirs.receive() is None


async def test_a_cancelled_frame_is_finished_or_never_begun() -> None:
    with pair() as (ours, theirs):
        begun = asyncio.create_task(ours.send(Frame(1, REQUEST, "Write", LARGE)))
        queued = asyncio.create_task(ours.send(Frame(2, REQUEST, "Write", LARGE)))
        await asyncio.sleep(0)
        for task in (begun, queued):
            task.cancel()
        await asyncio.gather(begun, queued, return_exceptions=True)
        last = asyncio.create_task(ours.send(Frame(3, REQUEST, "Free", b"")))
        assert await theirs.receive() == Frame(1, REQUEST, "Write", LARGE)
        assert await theirs.receive() == Frame(3, REQUEST, "Free", b"")
        await last


async def test_a_peer_that_hangs_costs_a_bounded_queue() -> None:
    with pair() as (ours, _theirs):
        stuck = asyncio.create_task(ours.send(Frame(1, REQUEST, "Write", LARGE)))
        await asyncio.sleep(0)
        for number in range(2 * bounds.LINK_CALLS):
            ours.post(Frame(number, CANCEL, "", b""))
        assert len(ours._posts) <= bounds.LINK_CALLS
        stuck.cancel()


@pytest.mark.parametrize(
    "header",
    [
        HEADER.pack(bounds.FRAME_BYTES + 1, 1, REQUEST, 0),
        HEADER.pack((1 << 32) - 1, 1, REQUEST, 0),
        HEADER.pack(0, 1, 4, 0),
        HEADER.pack(3, 1, REQUEST, 4),
    ],
    ids=["too long", "as long as can be", "no such kind", "name past the end"],
)
def test_what_is_no_frame_is_refused(header: bytes) -> None:
    with pytest.raises(Unavailable, match="no frame of ours"):
        parse(header)


async def test_half_a_frame_is_an_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    frames = FrameSocket(theirs)
    ours.sendall(Frame(1, REQUEST, "Write", b"data").encode()[:-1])
    ours.close()
    assert await frames.receive() is None
    frames.close()


class Control:
    """A worker that answers its own methods only."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    def hello(self) -> tuple[str, int, int, list[str]]:
        return "vf-test", 3, os.getpid(), ["ctx-1"]

    def share_window(self) -> tuple[int, int, int]:
        raise Unsupported("there is none")

    async def begin_epoch(self, epoch: int, header: bytes) -> None:
        self.waiting.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def erase_token(self) -> None:
        raise ValueError("a bug")

    def usage(self) -> Usage:
        return Usage(contexts=5)

    def shutdown(self) -> None:
        return


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Path, Control]]:
    path, control = tmp_path / "w.sock", Control()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        task = asyncio.create_task(serve_link(listener, None, control))  # type: ignore[arg-type]
        yield path, control
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_cancelled_call_ends_at_the_worker_too(served: tuple[Path, Control]) -> None:
    path, control = served
    link = await LinkCompute.connect(path, lambda: None)
    call = asyncio.create_task(link.begin_epoch(4, b""))
    await control.waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await control.cancelled.wait()
    assert (await link.hello()).contexts == ("ctx-1",)
    await link.close()


async def test_a_call_past_its_deadline_is_told_and_ended(served: tuple[Path, Control]) -> None:
    path, control = served
    link = await LinkCompute.connect(path, lambda: None)
    with pytest.raises(TimedOut, match="BeginEpoch"):
        await link._call("BeginEpoch", pb.FreeRequest(), 0.01)
    await control.cancelled.wait()
    assert (await link.usage()).contexts == 5
    await link.close()


async def test_noise_ends_its_own_connection_only(served: tuple[Path, Control]) -> None:
    path, _ = served
    link = await LinkCompute.connect(path, lambda: None)
    for noise in (b"\xff" * 64, Frame(1, REQUEST, "Nonsense", b"").encode(), b"\0"):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(noise)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert (await link.hello()).vf == "vf-test"
    await link.close()
