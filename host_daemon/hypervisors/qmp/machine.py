"""One running VM: its process, its monitor, its windows and its guest agent, joined."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from host_daemon.core.hypervisor import Exit, MachineEvent, MachineSpec, Output, WindowPlug
from host_daemon.hypervisors.qmp import command as guest_command
from host_daemon.hypervisors.qmp import console
from host_daemon.hypervisors.qmp.command_line import AGENT_PORT
from host_daemon.hypervisors.qmp.folder import Folder
from host_daemon.hypervisors.qmp.guest_agent import GuestAgent
from host_daemon.hypervisors.qmp.monitor import Monitor
from host_daemon.hypervisors.qmp.process import Process
from host_daemon.hypervisors.qmp.race import End, unless
from host_daemon.hypervisors.qmp.windows import Windows
from vaccel import bounds
from vaccel.errors import HostFault, TimedOut, Unavailable, VaccelError


class QmpMachine:
    """See ``Machine``. Begins with ``open``, ends with ``stop`` or ``release``."""

    def __init__(
        self, spec: MachineSpec, process: Process, on_event: Callable[[MachineEvent], None]
    ) -> None:
        self._spec = spec
        self._folder = Folder(spec.folder)
        self._process = process
        self._on_event = on_event
        loop = asyncio.get_running_loop()
        self._end: End = loop.create_future()
        self._shutdown = ""
        self._stopping = False
        self._agent = GuestAgent(
            spec.name, self._folder.agent, lambda: random.SystemRandom().getrandbits(31)
        )
        self._monitor = Monitor(spec.name, self._folder.monitor, self._heard)
        self._windows = Windows(spec.name, self._monitor, self._window_gone)
        self._logs: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect to the process, and let the guest run.

        Raises Unavailable with QEMU's last words where the process ends, or does not answer. Then
        the process is still the caller's, who ends or releases it.
        """
        self._process.watch(self._ended)
        await unless(self._end, self._monitor.connect())
        self._logs = asyncio.create_task(self._keep_logs(), name=f"logs of {self._spec.name}")
        await unless(self._end, self._resume())

    async def _resume(self) -> None:
        # The agent may have come before us: then no event will say so.
        for port in await self._monitor.execute("query-chardev"):
            if port["label"] == "agent" and port["frontend-open"]:
                self._agent.set_present(True)
        status = await self._monitor.execute("query-status")
        if status["status"] == "prelaunch":
            await self._monitor.execute("cont")

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether QEMU still runs."""
        return not self._end.done() and self._process.alive

    async def wait_ready(self, timeout: float) -> None:
        """See the port."""

        async def ready() -> None:
            while True:
                await self._agent.wait_present()
                # It may open the port and go away again: a guest that reboots does.
                with suppress(Unavailable, TimedOut):
                    await self._agent.request("guest-ping")
                    return
                await asyncio.sleep(bounds.BACKOFF_FIRST_SECONDS)

        try:
            async with asyncio.timeout(timeout):
                await unless(self._end, ready())
        except TimeoutError as error:
            raise TimedOut(
                f"VM {self._spec.name} did not get ready within {timeout:g} s;"
                f" its console ends: {console.tail(self._folder.console)}",
                hint="see its console, or allow it more time",
            ) from error
        except Unavailable as error:
            raise HostFault(
                f"{error.message} before it was ready;"
                f" its console ends: {console.tail(self._folder.console)}",
                hint=f"see {self._folder.console} and {self._folder.log}",
            ) from error

    async def plug(self, window: WindowPlug) -> None:
        """See the port."""
        await unless(self._end, self._windows.plug(window))

    async def unplug(self, device: str, timeout: float, force: bool = False) -> None:
        """See the port. With ``force`` a guest that does not let go in time is reset."""
        await unless(self._end, self._windows.unplug(device, timeout, force))

    async def plugged(self) -> Sequence[str]:
        """See the port."""
        return await unless(self._end, self._windows.plugged())

    def execute(
        self, command: Sequence[str], *, user: str = "", stdin: bytes = b"", timeout: float = 600.0
    ) -> AsyncIterator[Output | Exit]:
        """See the port. Output comes when the command has ended, stdout before stderr."""
        name = self._spec.name
        return guest_command.run(
            self._agent, name, command, user=user, stdin=stdin, timeout=timeout
        )

    def console(self, follow: bool = False) -> AsyncIterator[bytes]:
        """See the port; of a long log, the last 4 to 8 MiB."""
        folder = self._folder
        return console.read(
            folder.console, folder.console_before, follow=follow, alive=lambda: self.alive
        )

    async def stop(self, force: bool = False, timeout: float = bounds.VM_STOP_SECONDS) -> None:
        """See the port. Logs and overlays stay in the folder, which is the caller's to remove."""
        self._stopping = True
        if self.alive and not force:
            await self._ask_to_power_off()
            await asyncio.wait({self._end}, timeout=timeout)
        if self.alive:
            self._process.kill()
            await asyncio.wait({self._end}, timeout=bounds.MONITOR_SECONDS)
        if not self._end.done():
            raise HostFault(
                f"VM {self._spec.name}: process {self.pid} does not die",
                hint=f"it hangs in the kernel; see /proc/{self.pid}/stack",
            )
        await self.release()
        self._folder.forget()

    async def _ask_to_power_off(self) -> None:
        # Whatever goes wrong here, the deadline decides.
        with suppress(VaccelError, TimeoutError):
            await self._agent.tell("guest-shutdown", {"mode": "powerdown"})
            return
        with suppress(VaccelError):
            await self._monitor.execute("system_powerdown")

    async def release(self) -> None:
        """See the port."""
        self._stopping = True
        if self._logs is not None:
            self._logs.cancel()
            await asyncio.gather(self._logs, return_exceptions=True)
        await self._windows.close()
        await self._agent.close()
        await self._monitor.close()
        self._process.close()

    async def _keep_logs(self) -> None:
        folder = self._folder
        while True:
            console.rotate(folder.console, folder.console_before)
            console.rotate(folder.log, folder.log_before)
            await asyncio.sleep(bounds.CONSOLE_CHECK_SECONDS)

    def _heard(self, event: str, data: Mapping[str, Any]) -> None:
        if event == "RESET":
            reason = str(data.get("reason", ""))
            # A reset from outside is ours: an unplug by force, which took the guest down too.
            self._tell(MachineEvent("reset", reason=reason))
        elif event == "SHUTDOWN":
            self._shutdown = str(data.get("reason", ""))
        elif event == "DEVICE_DELETED" and "device" in data:
            self._windows.deleted(str(data["device"]))
        elif event == "VSERPORT_CHANGE" and data.get("id") == AGENT_PORT:
            self._agent.set_present(bool(data.get("open")))

    def _window_gone(self, device: str) -> None:
        self._tell(MachineEvent("unplugged", device=device))

    def _tell(self, event: MachineEvent) -> None:
        # Not within the monitor's reader: a fault of the listener's must not end the connection.
        asyncio.get_running_loop().call_soon(self._on_event, event)

    def _ended(self) -> None:
        reason = ", ".join(filter(None, (self._shutdown, self._process.ending))) or "it ended"
        words = console.tail(self._folder.log, lines=2)
        if words and self._shutdown == "":
            reason = f"{reason}: {words}"
        self._end.set_result(
            Unavailable(
                f"VM {self._spec.name} is gone ({reason})", hint="start it again; see its console"
            )
        )
        self._agent.set_present(False)
        if not self._stopping:
            self._tell(MachineEvent("died", reason=reason))
