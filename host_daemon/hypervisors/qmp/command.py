"""Running a command in a guest through its agent, which gives the output at the end."""

from __future__ import annotations

import base64
import binascii
import re
from asyncio import get_running_loop as running_loop
from asyncio import sleep, timeout_at
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Final

from host_daemon.core.hypervisor import Exit, Output
from host_daemon.hypervisors.qmp.guest_agent import ANSWER_BYTES, GuestAgent
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, InvalidArgument, TimedOut, Unavailable, VaccelError

# useradd (8), "CAVEATS".
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# The part of what a command took that its end may be seen late.
_LATE: Final = 1 / 8
_STREAMS: Final = (("stdout", "out"), ("stderr", "err"))


async def run(
    agent: GuestAgent,
    vm: str,
    command: Sequence[str],
    *,
    user: str,
    stdin: bytes,
    timeout: float,
) -> AsyncIterator[Output | Exit]:
    """See Machine.execute. A command still running at the deadline, or when let go, is ended.

    Raises InvalidArgument, Exhausted, TimedOut; Unavailable where guest or QEMU goes meanwhile.
    """
    arguments = _arguments(command, user, stdin)
    deadline = running_loop().time() + timeout
    pid = _number(vm, await agent.request("guest-exec", arguments), "pid")
    ended = False
    try:
        async with timeout_at(deadline):
            status = await _ended(agent, vm, pid)
        ended = True
    except TimeoutError as error:
        raise TimedOut(
            f"{command[0]} in VM {vm} ran for {timeout:g} s and was ended",
            hint="allow it more time",
        ) from error
    except (Unavailable, Exhausted):
        # There is nobody to ask, or it has ended.
        ended = True
        raise
    finally:
        if not ended:
            await _end(agent, pid)
    for item in _results(vm, command[0], status):
        yield item


def _arguments(command: Sequence[str], user: str, stdin: bytes) -> dict[str, Any]:
    if not command or not command[0]:
        raise InvalidArgument("no command to run in the guest", hint="name a program")
    if user and not _USER.fullmatch(user):
        raise InvalidArgument(f"user {user[:64]!r} is not a user's name")
    for argument in command:
        if "\0" in argument or len(argument.encode()) >= bounds.EXEC_ARGUMENT_BYTES:
            raise InvalidArgument(
                f"argument {argument[:40]!r} of {command[0][:40]!r} is too long or holds a NUL",
                hint=f"up to {bounds.EXEC_ARGUMENT_BYTES} bytes each; pass more on stdin",
            )
    if sum(map(len, command)) > bounds.CHUNK_BYTES or len(stdin) > bounds.EXEC_STDIN_BYTES:
        raise InvalidArgument(
            f"{command[0][:40]!r} has more input than {bounds.EXEC_STDIN_BYTES} bytes"
        )
    # In a session of its own: it can be ended with all that it started.
    prefix = ["--", *(["runuser", "-u", user, "--"] if user else [])]
    arguments: dict[str, Any] = {
        "path": "setsid",
        "arg": [*prefix, *command],
        "capture-output": True,
    }
    if stdin:
        arguments["input-data"] = base64.b64encode(stdin).decode()
    return arguments


async def _ended(agent: GuestAgent, vm: str, pid: int) -> dict[str, Any]:
    clock = running_loop().time
    start = clock()
    while True:
        try:
            status = await agent.request("guest-exec-status", {"pid": pid}, limit=ANSWER_BYTES)
        except HostFault as error:
            raise Unavailable(
                f"the guest agent of VM {vm} restarted and lost the command's result",
                hint="run the command again",
            ) from error
        if not isinstance(status, dict):
            raise _nonsense(vm, status)
        if status.get("exited"):
            return status
        # A question costs the guest some milliseconds, which its command may be measuring.
        delay = max((clock() - start) * _LATE, bounds.EXEC_POLL_FIRST_SECONDS)
        await sleep(min(delay, bounds.EXEC_POLL_LAST_SECONDS))


async def _end(agent: GuestAgent, pid: int) -> None:
    # The guest may be the reason why it did not end; then there is nothing more to do.
    with suppress(VaccelError):
        # The shell's own kill: a small guest has no program of that name.
        kill = {"path": "sh", "arg": ["-c", 'kill -s TERM -- "-$0"', str(pid)]}
        await agent.request("guest-exec", kill, timeout=bounds.MONITOR_SECONDS)


def _results(vm: str, program: str, status: dict[str, Any]) -> list[Output | Exit]:
    items: list[Output | Exit] = []
    for stream, key in _STREAMS:
        if status.get(f"{key}-truncated"):
            raise Exhausted(
                f"{program} in VM {vm} printed more than the guest agent keeps",
                hint="have the command write to a file in the guest",
            )
        text = status.get(f"{key}-data", "")
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise _nonsense(vm, text) from error
        if data:
            items.append(Output(stream, data))
    if "signal" in status:
        items.append(Exit(-_number(vm, status, "signal")))
    else:
        items.append(Exit(_number(vm, status, "exitcode")))
    return items


def _number(vm: str, answer: Any, key: str) -> int:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise _nonsense(vm, answer)
    return value


def _nonsense(vm: str, answer: Any) -> VaccelError:
    return Unavailable(
        f"the guest agent of VM {vm} answers with {str(answer)[:60]!r}",
        hint="restart qemu-guest-agent in the guest",
    )
