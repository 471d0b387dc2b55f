"""The agent's configuration: a TOML file in which unknown keys are refused by name."""

from __future__ import annotations

import grp
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from vaccel import bounds
from vaccel.errors import InvalidArgument, NotFound

DEFAULT_FILE: Final = Path("/etc/vaccel/agent.toml")
_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Config:
    """What an operator may set. The defaults fit the guest image.

    ``socket``: where apps connect, ``unix:/PATH``. ``socket_mode``: its permissions, octal digits.
    ``socket_group``: whose it is beside root; empty leaves root's.
    ``state_dir``: credentials, root only. ``sysfs``: where the kernel shows PCI functions.
    ``rescan_seconds``: the safety net under the kernel's events. ``log_level``: debug to error.
    """

    socket: str = "unix:/run/vaccel/agent.sock"
    socket_mode: str = "0666"
    socket_group: str = ""
    state_dir: str = "/var/lib/vaccel"
    sysfs: str = "/sys"
    rescan_seconds: float = bounds.PCI_RESCAN_SECONDS
    log_level: str = "info"

    @property
    def mode(self) -> int:
        """``socket_mode`` as a number."""
        return int(self.socket_mode, 8)

    @property
    def group(self) -> int:
        """``socket_group`` as a number; -1 where it is empty. Raises KeyError."""
        return grp.getgrnam(self.socket_group).gr_gid if self.socket_group else -1

    @property
    def socket_path(self) -> Path:
        """The path behind ``socket``."""
        return Path(self.socket.removeprefix("unix:"))


def load(path: Path | None) -> Config:
    """Read a configuration; without a path the default file, and without that the defaults.

    Raises NotFound where a named file is absent, InvalidArgument naming file, key and value.
    """
    source = DEFAULT_FILE if path is None else path
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is None:
            return Config()
        raise NotFound(
            f"configuration {source} does not exist", hint="leave --config out for the defaults"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"configuration {source} cannot be read: {error}") from error
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"configuration {source} is not TOML: {error}") from error
    return parse(table, str(source))


def parse(table: Mapping[str, Any], where: str) -> Config:
    """Check a table. Raises InvalidArgument naming ``where``, the key and its value."""
    kinds: dict[str, type] = {field.name: type(field.default) for field in fields(Config)}
    values: dict[str, Any] = {}
    for key, given in table.items():
        if key not in kinds:
            raise InvalidArgument(
                f"{where}: unknown key {key!r}", hint=f"known keys: {', '.join(sorted(kinds))}"
            )
        value = float(given) if kinds[key] is float and type(given) is int else given
        if type(value) is not kinds[key]:
            raise InvalidArgument(f"{where}: {key} = {value!r} is not a {kinds[key].__name__}")
        values[key] = value
    return _checked(Config(**values), where)


def _checked(config: Config, where: str) -> Config:
    path = config.socket.removeprefix("unix:")
    # 107 bytes fit into sun_path.
    if not config.socket.startswith("unix:/") or len(path.encode()) > 107:
        raise InvalidArgument(f"{where}: socket = {config.socket!r} is not unix:/PATH")
    for key in ("state_dir", "sysfs"):
        if not (value := str(getattr(config, key))).startswith("/"):
            raise InvalidArgument(f"{where}: {key} = {value!r} is not an absolute path")
    digits = config.socket_mode
    if not (len(digits) in (3, 4) and set(digits) <= set("01234567") and int(digits, 8) <= 0o777):
        raise InvalidArgument(f"{where}: socket_mode = {digits!r} is not like 0660")
    try:
        _ = config.group
    except (KeyError, ValueError):
        raise InvalidArgument(
            f"{where}: socket_group = {config.socket_group!r} is no group of this system",
            hint=f"make it first: groupadd --system {config.socket_group}",
        ) from None
    if not 0.1 <= config.rescan_seconds <= 3600:
        raise InvalidArgument(
            f"{where}: rescan_seconds = {config.rescan_seconds:g} is not from 0.1 to 3600"
        )
    if config.log_level not in _LEVELS:
        raise InvalidArgument(
            f"{where}: log_level = {config.log_level!r} is not one of {', '.join(_LEVELS)}"
        )
    return config
