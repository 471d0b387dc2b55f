"""The guest agent's protocol, spoken with a hostile peer: its answers are bounded and checked.

Requests and answers are lines of JSON in strict order, on a stream that both sides may have left
in the middle. After a connect, and after any request whose answer was not awaited, ``guest-sync-
delimited`` finds the place again: its answer begins with a byte 0xFF, which JSON never holds.
Source: QEMU, qga/qapi-schema.json.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from host_daemon.hypervisors.qmp.folder import connect
from host_daemon.hypervisors.qmp.race import End, unless
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, TimedOut, Unavailable, VaccelError

_DELIMITER: Final = b"\xff"
_LINE_BYTES: Final = 64 * bounds.KIB
_READ_BYTES: Final = 64 * bounds.KIB
# What the agent says of a command that ended holds its output in base64.
ANSWER_BYTES: Final = bounds.EXEC_OUTPUT_BYTES * 4 // 3 + _LINE_BYTES


class GuestAgent:
    """The agent of one VM. ``present`` follows what QEMU says of its end of the port."""

    def __init__(self, vm: str, path: Path, random: Callable[[], int]) -> None:
        self._vm = vm
        self._path = path
        self._random = random
        self._lock = asyncio.Lock()
        self._open = asyncio.Event()
        self._lost: End = asyncio.get_running_loop().create_future()
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._in_step = False
        self._buffer = bytearray()

    def set_present(self, present: bool) -> None:
        """The guest opened or closed the port. Whoever waits for an answer learns of it at once."""
        if present:
            self._open.set()
            return
        self._open.clear()
        self._lost.set_result(
            Unavailable(
                f"the guest agent of VM {self._vm} went away",
                hint="the guest reboots or powers off; try again when it is ready",
            )
        )
        self._lost = asyncio.get_running_loop().create_future()

    async def wait_present(self) -> None:
        """Until the guest has opened the port."""
        await self._open.wait()

    async def request(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        *,
        limit: int = _LINE_BYTES,
        timeout: float = bounds.GUEST_AGENT_SECONDS,
    ) -> Any:
        """What the agent answers. ``limit`` bounds the answer, in bytes.

        Raises HostFault as the agent refuses, Exhausted where the answer is larger, TimedOut, and
        Unavailable where there is no agent.
        """
        message: dict[str, Any] = {"execute": command}
        if arguments is not None:
            message["arguments"] = arguments
        async with self._lock:
            self._check_present()
            try:
                async with asyncio.timeout(timeout):
                    answer = await unless(self._lost, self._exchange(message, limit))
            except TimeoutError as error:
                raise TimedOut(
                    f"the guest agent of VM {self._vm} did not answer {command}"
                    f" within {timeout:g} s",
                    hint="the guest hangs or is overloaded; see its console",
                ) from error
        if isinstance(answer, dict) and "return" in answer:
            return answer["return"]
        raise self._refusal(command, answer)

    async def tell(self, command: str, arguments: dict[str, Any]) -> None:
        """Send what has no answer when it succeeds. Raises as request does."""
        async with self._lock:
            self._check_present()
            async with asyncio.timeout(bounds.GUEST_AGENT_SECONDS):
                await self._synchronise()
                self._in_step = False
                await self._send({"execute": command, "arguments": arguments})

    async def close(self) -> None:
        """Disconnect."""
        self._disconnect()

    def _check_present(self) -> None:
        if not self._open.is_set():
            raise Unavailable(
                f"the guest agent of VM {self._vm} is not there",
                hint="wait until the VM is ready; see its console",
            )

    async def _exchange(self, message: dict[str, Any], limit: int) -> Any:
        await self._synchronise()
        # Out of step until the answer is here: a cancelled request must not answer the next one.
        self._in_step = False
        await self._send(message)
        answer = self._parse(await self._line(limit))
        self._in_step = True
        return answer

    async def _synchronise(self) -> None:
        if self._in_step and self._stream is not None:
            return
        if self._stream is None:
            await self._connect()
        number = self._random() & 0x7FFF_FFFF
        assert self._stream is not None
        self._stream[1].write(_DELIMITER)
        await self._send({"execute": "guest-sync-delimited", "arguments": {"id": number}})
        while True:
            await self._skip_to_delimiter()
            answer = self._parse(await self._line(_LINE_BYTES))
            if answer == {"return": number}:
                break
        self._in_step = True

    async def _connect(self) -> None:
        try:
            self._stream = await asyncio.open_unix_connection(
                sock=connect(self._path), limit=_READ_BYTES
            )
        except OSError as error:
            raise self._gone() from error
        self._buffer.clear()

    def _disconnect(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
        self._stream = None
        self._in_step = False
        self._buffer.clear()

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._stream is not None
        try:
            self._stream[1].write(json.dumps(message).encode() + b"\n")
            await self._stream[1].drain()
        except OSError as error:
            self._disconnect()
            raise self._gone() from error

    async def _line(self, limit: int) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            if len(self._buffer) > limit:
                self._disconnect()
                raise Exhausted(
                    f"the guest agent of VM {self._vm} answers with more than {limit} bytes",
                    hint="have the command write to a file in the guest",
                )
            searched = len(self._buffer)
            await self._read()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _skip_to_delimiter(self) -> None:
        while (start := self._buffer.find(_DELIMITER)) < 0:
            self._buffer.clear()
            await self._read()
        del self._buffer[: start + 1]

    async def _read(self) -> None:
        assert self._stream is not None
        data = b""
        with suppress(OSError):
            data = await self._stream[0].read(_READ_BYTES)
        if not data:
            self._disconnect()
            raise self._gone()
        self._buffer += data

    def _parse(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                f"the guest agent of VM {self._vm} answers with {line[:60]!r}, which is not JSON",
                hint="restart qemu-guest-agent in the guest",
            ) from error

    def _gone(self) -> VaccelError:
        return Unavailable(f"VM {self._vm} is gone: its QEMU closed the guest agent's channel")

    def _refusal(self, command: str, answer: Any) -> VaccelError:
        error = answer.get("error") if isinstance(answer, dict) else None
        words = error.get("desc") if isinstance(error, dict) else None
        return HostFault(
            f"the guest agent of VM {self._vm} refuses {command}: {str(words)[:500]}",
            hint="see the agent's log in the guest",
        )
