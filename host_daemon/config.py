"""The daemon's configuration: one TOML file, checked key by key. ``docs/configuration.md`` explains
each.

An unknown key is refused by name: a misspelt limit must not be a limit that silently does not hold.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from vaccel import bounds, ids, units
from vaccel.errors import HostFault, InvalidArgument

ACCELERATORS: Final = ("auto", "kvm", "tcg")
_CHECKOUT: Final = Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    """``${XDG_CACHE_HOME:-~/.cache}/vaccel``."""
    base = os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(base) / "vaccel"


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Where the daemon keeps things, and what it may use."""

    state_dir: Path = Path("/var/lib/vacceld")
    runtime_dir: Path = Path("/run/vacceld")
    # Windows, workers and VMs together; 0 is three quarters of the host's memory.
    memory_limit: int = 0
    worker_threads: int = 2
    # An unprivileged uid for workers where the daemon runs as root; 65534 is nobody.
    worker_uid: int = 65534


@dataclass(frozen=True, slots=True)
class HypervisorConfig:
    """How VMs run."""

    accelerator: str = "auto"
    memory: int = 512 << 20
    cpus: int = 1


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """Where guest images come from and are kept."""

    cache: Path = field(default_factory=lambda: cache_dir() / "images")
    recipes: Path = _CHECKOUT / "images"
    lock: Path = _CHECKOUT / "requirements.lock"
    source: Path = _CHECKOUT
    default: str = "debian"


@dataclass(frozen=True, slots=True)
class PfConfig:
    """One card: a name for it, and its card file (a name in the catalogue, or a path).

    ``window`` is that of its VFs in bytes, 0 for what the card file says.
    """

    name: str
    card: str
    window: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    host: HostConfig = field(default_factory=HostConfig)
    hypervisor: HypervisorConfig = field(default_factory=HypervisorConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    pfs: tuple[PfConfig, ...] = ()


def load(path: Path) -> Config:
    """Read a file. Raises HostFault where it cannot be read, InvalidArgument naming the key."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as fault:
        why = getattr(fault, "strerror", None) or fault
        raise HostFault(
            f"configuration {path}: {why}", hint="give another with --config FILE"
        ) from None
    return parse(text, str(path))


def parse(text: str, where: str) -> Config:
    """Check a file's text; ``where`` is what messages call it."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise InvalidArgument(f"{where}: not TOML: {fault}", hint="see https://toml.io") from None
    _only(table, ("host", "hypervisor", "images", "pf"), where, "")
    pfs = table.get("pf", [])
    if not isinstance(pfs, list) or not pfs:
        raise InvalidArgument(
            f"{where}: no [[pf]]", hint='declare a card: [[pf]] name = "npu0" card = "kcloud-1"'
        )
    parsed = tuple(_pf(pf, where, i) for i, pf in enumerate(pfs))
    names = [pf.name for pf in parsed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArgument(
            f"{where}: two [[pf]] are called {twice[0]!r}", hint="rename one of them"
        )
    return Config(
        HostConfig(**_section(table, "host", HostConfig, where)),
        HypervisorConfig(**_section(table, "hypervisor", HypervisorConfig, where)),
        ImagesConfig(**_section(table, "images", ImagesConfig, where)),
        parsed,
    )


def _only(table: Mapping[str, Any], known: tuple[str, ...], where: str, section: str) -> None:
    for key in table:
        if key not in known:
            name = f"{section}.{key}" if section else key
            raise InvalidArgument(
                f"{where}: unknown key {name!r}", hint=f"known here: {', '.join(known)}"
            )


def _path(value: object, key: str) -> Path:
    if not isinstance(value, str) or not value.startswith(("/", "~")):
        raise InvalidArgument(f"{key} = {value!r} is not an absolute path", hint="begin it with /")
    return Path(value).expanduser()


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{key} = {value!r} is not a text", hint="put it in quotes")
    return value


def _size(value: object, key: str) -> int:
    size = int(units.parse(value, units.SIZE, key))
    if size <= 0:
        raise InvalidArgument(f"{key} = {value!r} is not more than zero", hint='such as "16 GiB"')
    return size


def _count(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise InvalidArgument(
            f"{key} = {value!r} is not a whole number", hint="write it without quotes"
        )
    return value


def _positive(value: object, key: str) -> int:
    count = _count(value, key)
    if not 1 <= count <= 256:
        raise InvalidArgument(
            f"{key} = {value!r} is not between 1 and 256", hint="choose one of these"
        )
    return count


def _accelerator(value: object, key: str) -> str:
    if value not in ACCELERATORS:
        raise InvalidArgument(
            f"{key} = {value!r} is none", hint=f"one of {', '.join(ACCELERATORS)}"
        )
    return str(value)


_READERS: Final[dict[str, Callable[[object, str], Any]]] = {
    "state_dir": _path,
    "runtime_dir": _path,
    "memory_limit": _size,
    "worker_threads": _positive,
    "worker_uid": _count,
    "accelerator": _accelerator,
    "memory": _size,
    "cpus": _positive,
    "cache": _path,
    "recipes": _path,
    "lock": _path,
    "source": _path,
    "default": _text,
}


def _section(table: Mapping[str, Any], name: str, cls: Any, where: str) -> dict[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, Mapping):
        raise InvalidArgument(f"{where}: {name} is not a table", hint=f"write [{name}]")
    known = tuple(f.name for f in fields(cls))
    _only(section, known, where, name)
    return {k: _READERS[k](v, f"{where}: {name}.{k}") for k, v in section.items()}


def _pf(pf: object, where: str, index: int) -> PfConfig:
    key = f"pf[{index}]"
    if not isinstance(pf, Mapping):
        raise InvalidArgument(f"{where}: {key} is not a table", hint="write [[pf]]")
    _only(pf, ("name", "card", "window"), where, key)
    for wanted in ("name", "card"):
        if wanted not in pf:
            raise InvalidArgument(
                f"{where}: {key} has no {wanted}", hint='[[pf]] name = "npu0" card = "kcloud-1"'
            )
    name = _text(pf["name"], f"{where}: {key}.name")
    if not ids.is_name(name):
        raise InvalidArgument(f"{where}: {key}.name = {name!r} is not a name", hint="a-z 0-9 - _ .")
    window = _window(pf["window"], f"{where}: {key}.window") if "window" in pf else 0
    return PfConfig(name, _text(pf["card"], f"{where}: {key}.card"), window)


def _window(value: object, key: str) -> int:
    window = _size(value, key)
    if window & (window - 1) or not bounds.WINDOW_BYTES_LEAST <= window <= bounds.GIB:
        raise InvalidArgument(
            f"{key} = {value!r} is no power of two from 1 MiB to 1 GiB",
            hint="such as 512 MiB: it becomes a PCI BAR",
        )
    return window
