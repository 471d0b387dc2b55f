"""Which accelerator works here: not which one opens.

``/dev/kvm`` may exist, open, even run a guest, and still be of no use: nested virtualisation that
is switched off below us, or one that emulates each instruction. So a guest must work (see rom.py),
with the CPU that a VM would get, within seconds; it needs milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from pathlib import Path
from typing import Final

from host_daemon.hypervisors.qmp.command_line import QEMU, TCG_CPU
from host_daemon.hypervisors.qmp.rom import EXIT_CODE
from host_daemon.hypervisors.qmp.rom import rom as rom_image
from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument

_KVM: Final = Path("/dev/kvm")
_CPUINFO: Final = Path("/proc/cpuinfo")


async def probe(override: str, *, device: Path = _KVM, cpuinfo: Path = _CPUINFO) -> tuple[str, str]:
    """(accelerator, why). An override is taken at its word. Raises InvalidArgument, HostFault."""
    if override in ("kvm", "tcg"):
        return override, "set by the configuration"
    if override != "auto":
        raise InvalidArgument(f"accelerator {override!r}", hint="auto, kvm or tcg")
    obstacle = _obstacle(cpuinfo, device)
    if obstacle:
        return "tcg", obstacle
    reason = await try_guest("kvm")
    return ("tcg", f"under KVM {reason}") if reason else ("kvm", "a guest worked under KVM")


def _obstacle(cpuinfo: Path, device: Path) -> str:
    if not has_virtualisation(cpuinfo.read_text()):
        return "the CPU shows neither vmx nor svm"
    if not device.exists():
        return f"there is no {device}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission to open {device}"
    return ""


def has_virtualisation(cpuinfo: str) -> bool:
    """Whether the first CPU's flags have Intel's vmx or AMD's svm."""
    for line in cpuinfo.splitlines():
        if line.startswith("flags"):
            return not {"vmx", "svm"}.isdisjoint(line.split())
    return False


async def try_guest(accelerator: str, seconds: float = bounds.PROBE_SECONDS) -> str:
    """Run the ROM; "" where it answered, else what happened. Raises HostFault without QEMU."""
    with tempfile.TemporaryDirectory(prefix="vaccel-probe-") as folder:
        rom = Path(folder) / "rom"
        rom.write_bytes(rom_image())
        try:
            process = await asyncio.create_subprocess_exec(
                *(QEMU, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
                *("-machine", "pc", "-m", "16M", "-accel", accelerator, "-bios", str(rom)),
                *("-cpu", "host" if accelerator == "kvm" else TCG_CPU),
                *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x01"),
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
            )
        except OSError as error:
            raise HostFault(
                f"{QEMU} cannot be started: {error.strerror}",
                hint="apt install qemu-system-x86",
            ) from error
        return await _answer(process, seconds)


async def _answer(process: asyncio.subprocess.Process, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            _, words = await process.communicate()
    except TimeoutError:
        return f"a guest did not finish within {seconds:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            # One that hangs in the kernel must not hang us too; its parent reaps it when it ends.
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 1.0)
    if process.returncode == EXIT_CODE:
        return ""
    lines = words.decode(errors="replace").strip().splitlines() or [f"exit {process.returncode}"]
    return f"QEMU failed: {lines[-1][:200]}"
