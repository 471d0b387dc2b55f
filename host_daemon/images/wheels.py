"""The part of the hashed lock file that goes into a guest, and its installation into a folder."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from host_daemon.images.runner import Runner
from vaccel import bounds
from vaccel.errors import HostFault

_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?"
)
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# What no guest needs at run time; `tests` alone would also match packages that are imported.
_STRIPPED: Final = ("numpy/**/tests", "numpy/_core/include", "numpy/f2py", "bin", "include")


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of the lock: a version, its allowed hashes, and who asked for it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    via: tuple[str, ...]


def parse_lock(text: str) -> list[Pin]:
    """The pins of a lock file as ``uv pip compile --universal --generate-hashes`` writes it.

    Raises HostFault naming the line that is none of its forms, and the pin that has no hash.
    """
    pins: list[Pin] = []
    head: re.Match[str] | None = None
    hashes: list[str] = []
    via: list[str] = []

    def finish() -> None:
        if head is None:
            return
        if not hashes:
            raise HostFault(f"lock file: {head['name']} has no hash", hint="make the lock again")
        name = canonicalize_name(head["name"])
        pins.append(
            Pin(name, head["version"], head["marker"] or "", tuple(sorted(hashes)), tuple(via))
        )

    for number, line in enumerate(text.splitlines(), start=1):
        if found := _PIN.fullmatch(line):
            finish()
            head, hashes, via = found, [], []
        elif not line.strip():
            continue
        elif line.lstrip().startswith("#"):
            comment = line.lstrip(" #").removeprefix("via").strip()
            if comment and not comment.startswith("-"):
                via.append(canonicalize_name(comment.split()[0]))
        elif head is not None and (hash_found := _HASH.search(line)):
            hashes.append(hash_found.group())
        else:
            raise HostFault(f"lock file: line {number} is not understood: {line.strip()!r}")
    finish()
    return pins


def guest_requirements(text: str, wanted: Sequence[str], python: str) -> str:
    """The requirements, with hashes, of the wanted packages and all they need, for a guest.

    What needs what is read from the lock's own ``# via`` comments. Markers are decided for the
    guest (Linux, x86-64, CPython ``python``), not for the host. Raises HostFault where a wanted
    package is not locked.
    """
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "extra": "",
    }
    pins = [pin for pin in parse_lock(text) if _applies(pin, environment)]
    chosen: set[str] = {canonicalize_name(name) for name in wanted}
    for name in sorted(chosen - {pin.name for pin in pins}):
        raise HostFault(
            f"lock file: {name} is not locked for Python {python}",
            hint="add it to the project's dependencies and make the lock again",
        )
    while more := {pin.name for pin in pins if set(pin.via) & chosen} - chosen:
        chosen |= more
    lines = [
        f"{pin.name}=={pin.version} " + " ".join(pin.hashes) for pin in pins if pin.name in chosen
    ]
    return "\n".join(sorted(lines)) + "\n"


def _applies(pin: Pin, environment: dict[str, str]) -> bool:
    if not pin.marker:
        return True
    try:
        return Marker(pin.marker).evaluate(environment)
    except InvalidMarker as fault:
        raise HostFault(f"lock file: {pin.name} has a bad marker {pin.marker!r}") from fault


async def install_wheels(
    run: Runner, requirements: str, python: str, platforms: Sequence[str], target: Path
) -> None:
    """Install wheels, checked by hash, for a guest's Python into a folder that does not exist yet.

    Raises HostFault with pip's last lines where a wheel cannot be had.
    """
    listed = target.with_name(f"{target.name}.txt")
    listed.write_text(requirements)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--no-compile"]
    command += ["--disable-pip-version-check", "--no-warn-script-location"]
    command += ["--implementation", "cp", "--python-version", python]
    command += ["--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
    for platform in platforms:
        command += ["--platform", platform]
    command += ["--target", str(target), "--requirement", str(listed)]
    await run(command, timeout=bounds.IMAGE_BUILD_SECONDS)
    await asyncio.to_thread(_strip, target)


def _strip(target: Path) -> None:
    for pattern in _STRIPPED:
        for path in list(target.glob(pattern)):
            shutil.rmtree(path)
