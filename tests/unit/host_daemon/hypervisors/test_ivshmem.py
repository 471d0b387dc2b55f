from __future__ import annotations

import array
import asyncio
import os
import socket
import struct

import pytest

from host_daemon.hypervisors.qmp import ivshmem
from host_daemon.hypervisors.qmp.ivshmem import until_read, write_ahead
from vaccel.errors import TimedOut


def received(stream: socket.socket) -> tuple[int, int | None]:
    """One integer, and the inode of the descriptor that came with it."""
    data, ancillary, _, _ = stream.recvmsg(8, socket.CMSG_SPACE(4))
    (number,) = struct.unpack("<q", data)
    if not ancillary:
        return number, None
    (descriptor,) = array.array("i", ancillary[0][2])
    try:
        return number, os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


async def test_the_handshake_and_nothing_more() -> None:
    ours, theirs = socket.socketpair()
    memfd = os.memfd_create("window")
    with ours, theirs:
        write_ahead(ours, memfd, memfd)
        inode = os.fstat(memfd).st_ino
        # QEMU's own vectors are never announced: no message has its id and a descriptor.
        assert [received(theirs) for _ in range(4)] == [
            (0, None),
            (ivshmem.QEMU_ID, None),
            (-1, inode),
            (ivshmem.WORKER_ID, inode),
        ]
        await until_read(ours, "vf")
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
    os.close(memfd)


async def test_a_silent_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaccel.bounds.MONITOR_SECONDS", 0.01)
    ours, theirs = socket.socketpair()
    memfd = os.memfd_create("window")
    with ours, theirs:
        write_ahead(ours, memfd, memfd)
        with pytest.raises(TimedOut, match="device vf"):
            await until_read(ours, "vf")
    os.close(memfd)


async def test_it_waits_for_a_slow_peer() -> None:
    ours, theirs = socket.socketpair()
    memfd = os.memfd_create("window")
    with ours, theirs:
        write_ahead(ours, memfd, memfd)
        waiting = asyncio.ensure_future(until_read(ours, "vf"))
        for _ in range(4):
            await asyncio.sleep(0)
            assert not waiting.done()
            received(theirs)
        await waiting
    os.close(memfd)
