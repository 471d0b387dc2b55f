"""Running the host's programs: the one place of this package that starts processes."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from vaccel import bounds
from vaccel.errors import HostFault, TimedOut

# Which Debian package brings a program that may be missing.
PACKAGES: Final[Mapping[str, str]] = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "dpkg-deb": "dpkg",
    "tar": "tar",
    "apt-get": "apt",
    "apt-config": "apt",
}
_TAIL_LINES: Final = 8


def require_programs(names: Iterable[str]) -> None:
    """Raise HostFault naming the first program that is missing, with the package that brings it."""
    for name in names:
        if shutil.which(name, path=_search_path()) is None:
            raise missing_program(name)


def missing_program(name: str) -> HostFault:
    """The error for a program that this host lacks."""
    return HostFault(
        f"program {name} is missing", hint=f"install it: apt-get install {PACKAGES.get(name, name)}"
    )


class Runner(Protocol):
    """Runs a program to its end."""

    async def __call__(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """Its standard output; ``on_line`` gets each line of both outputs as it comes.

        Raises HostFault where the program is missing or fails, TimedOut where it takes too long.
        """


async def run_program(
    command: Sequence[str], *, timeout: float, on_line: Callable[[str], None] | None = None
) -> str:
    """The Runner that starts real processes, each in a process group that ends with the call."""
    program = command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=bounds.MIB,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": _search_path()},
        )
    except FileNotFoundError:
        raise missing_program(program) from None
    except PermissionError as fault:
        raise HostFault(f"program {program} may not be run: {fault.strerror}") from fault
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
    output: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            async with asyncio.TaskGroup() as group:
                group.create_task(_follow(process.stdout, output, tail, on_line))
                group.create_task(_follow(process.stderr, None, tail, on_line))
            code = await process.wait()
    except TimeoutError:
        raise TimedOut(f"{program} did not end within {timeout:g} s") from None
    finally:
        await _end(process)
    if code:
        said = " | ".join(tail) or "it said nothing"
        raise HostFault(f"{program} failed with {code}: {said}")
    return "".join(output)


def _search_path() -> str:
    """The user's path with the folders where Debian keeps mke2fs and the like."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


async def _follow(
    stream: asyncio.StreamReader | None,
    output: list[str] | None,
    tail: collections.deque[str],
    on_line: Callable[[str], None] | None,
) -> None:
    kept = 0
    while stream is not None and (raw := await stream.readline()):
        line = raw.decode(errors="replace")
        if output is not None and kept < bounds.EXEC_OUTPUT_BYTES:
            output.append(line)
            kept += len(raw)
        text = line.strip()
        if text:
            tail.append(text)
            if on_line is not None:
                on_line(text)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the group to end, so that mmdebstrap can clear away what it mounted, then insist."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(bounds.PROGRAM_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass  # killed below, as it is when even this wait is cancelled
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
