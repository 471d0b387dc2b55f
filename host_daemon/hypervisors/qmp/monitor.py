"""QEMU's monitor: one connection, commands with a deadline, events to one callback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from qemu.qmp import ExecuteError, QMPClient, QMPError
from qemu.qmp.message import Message

from host_daemon.hypervisors.qmp.folder import connect
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, NotFound, TimedOut, Unavailable, VaccelError

EventHandler = Callable[[str, Mapping[str, Any]], None]

# What the library logs as an error reaches us as an exception, with more to say about it.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Monitor:
    """A connection to the monitor of one VM. ``on_event`` gets each event's name and data."""

    def __init__(self, vm: str, path: Path, on_event: EventHandler) -> None:
        self._vm = vm
        self._path = path
        self._descriptors = asyncio.Lock()
        self._client = QMPClient(vm)

        def hear(event: Message) -> bool:
            data = event.get("data")
            on_event(str(event["event"]), data if isinstance(data, dict) else {})
            # Not kept: the library would remember every event that a guest can cause, for ever.
            return False

        self._client.events.event_filter = hear

    async def connect(self) -> None:
        """Connect. Raises Unavailable where QEMU does not answer, or answers another client."""
        try:
            async with asyncio.timeout(bounds.MONITOR_SECONDS):
                await self._client.connect(connect(self._path))
        except (TimeoutError, OSError, QMPError) as error:
            raise Unavailable(
                f"QEMU of VM {self._vm} does not answer on {self._path}:"
                f" {error or 'no greeting in time'}",
                hint="it serves one client at a time: see that no other daemon uses this folder",
            ) from error

    async def execute(self, command: str, **arguments: object) -> Any:
        """Run a command; a name's underscores become dashes.

        Raises NotFound and HostFault as QEMU refuses, Exhausted where the machine has no slot
        left, TimedOut, and Unavailable where QEMU is gone.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            async with asyncio.timeout(bounds.MONITOR_SECONDS):
                return await self._client.execute(command, named or None)
        except ExecuteError as error:
            raise self._refusal(command, error) from error
        except TimeoutError as error:
            raise TimedOut(
                f"QEMU of VM {self._vm} did not answer {command}"
                f" within {bounds.MONITOR_SECONDS:g} s",
                hint="see qemu.log in the VM's folder",
            ) from error
        except (QMPError, OSError, EOFError) as error:
            raise Unavailable(f"VM {self._vm} is gone: its QEMU closed the monitor") from error

    async def lend(self, name: str, descriptor: int) -> None:
        """Give QEMU a copy of a descriptor under a name. Raises as execute does."""
        async with self._descriptors:
            try:
                self._client.send_fd_scm(descriptor)
            except (QMPError, OSError) as error:
                raise Unavailable(f"VM {self._vm} is gone: its QEMU closed the monitor") from error
            await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """Disconnect. QEMU runs on, and waits for the next client."""
        with suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()

    def _refusal(self, command: str, error: ExecuteError) -> VaccelError:
        text = f"QEMU of VM {self._vm} refuses {command}: {error}"
        if error.error_class == "DeviceNotFound":
            return NotFound(text)
        if "no slot/function available" in text:
            return Exhausted(text, hint="detach a device of this VM first")
        return HostFault(text, hint="see qemu.log in the VM's folder")
