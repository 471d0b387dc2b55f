"""Processes that this daemon may not have started: named by pid and start time, held by pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from vaccel.errors import Internal


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (field 22 of proc(5) stat); 0 if gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The second field is the program's name in parentheses, and may hold blanks.
    return int(stat.rpartition(")")[2].split()[19])


def alive(pid: int, started: int) -> bool:
    """Whether that very process exists."""
    return pid > 0 and start_time(pid) == started


def listeners(path: Path) -> list[int]:
    """Pids of other processes that hold the unix socket bound to a path."""
    sockets = {
        f"socket:[{words[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()
        if len(words := line.split(maxsplit=7)) == 8 and words[7] == str(path)
    }
    found = []
    for entry in Path("/proc").iterdir() if sockets else ():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            pid = int(entry.name)
            if not sockets.isdisjoint(descriptors(pid).values()):
                found.append(pid)
    return found


def descriptors(pid: int) -> dict[int, str]:
    """What a process's descriptors lead to; none where it has gone, or is not ours to look at."""
    found = {}
    with contextlib.suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile: the others are not
                found[int(fd.name)] = os.readlink(fd)
    return found


async def kill(pid: int, started: int, timeout: float) -> None:
    """Kill that very process and wait until it is gone. Raises Internal where it will not go."""
    try:
        pidfd = os.pidfd_open(pid) if pid > 0 else -1
    except ProcessLookupError:
        return
    if pidfd < 0:
        return
    try:
        if start_time(pid) != started:
            return
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await _gone(pidfd, timeout)
    except ProcessLookupError:
        return
    except TimeoutError:
        raise Internal(f"process {pid} outlived SIGKILL for {timeout:g} s") from None
    finally:
        os.close(pidfd)


async def _gone(pidfd: int, timeout: float) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(timeout):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
