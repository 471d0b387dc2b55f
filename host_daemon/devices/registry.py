"""Finds kinds of card and card files.

A kind outside this package joins by the entry point group ``vaccel.devices``: its name is the
``kind`` of card files, its value ``package.module:Class``, where the class is a
``host_daemon.core.device.Kind`` made without arguments. The kinds shipped here are found also
where nothing is installed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final, cast

from host_daemon.core.device import Card, DeviceModel, Kind
from vaccel.bounds import CARD_FILE_BYTES
from vaccel.errors import HostFault, InvalidArgument, NotFound
from vaccel.model import Profile

GROUP: Final = "vaccel.devices"
CATALOGUE: Final = Path(__file__).parent / "catalogue"
_BUILT_IN: Final[Mapping[str, str]] = {
    "npu": "host_daemon.devices.npu.kind:NpuKind",
    "pim": "host_daemon.devices.pim.kind:PimKind",
    "npu-pim": "host_daemon.devices.npu_pim.kind:NpuPimKind",
    "nvm": "host_daemon.devices.nvm.kind:NvmKind",
    "fake": "host_daemon.devices.fake.kind:FakeKind",
}


def kinds() -> dict[str, str]:
    """Names of all kinds and where each comes from, ``module:Class``. Loads none of them.

    Raises HostFault where two packages claim one name.
    """
    found = dict(_BUILT_IN)
    for point in metadata.entry_points(group=GROUP):
        if found.setdefault(point.name, point.value) != point.value:
            raise HostFault(
                f"device kind {point.name!r} is claimed by {found[point.name]} and {point.value}",
                hint="uninstall one of the two packages",
            )
    return found


def find_kind(name: str) -> Kind:
    """A kind by name. Raises NotFound, or HostFault where its package cannot be loaded."""
    known = kinds()
    if name not in known:
        raise NotFound(f"no device kind {name!r}", hint=f"there are: {', '.join(sorted(known))}")
    module, _, attribute = known[name].partition(":")
    try:
        return cast(Kind, getattr(import_module(module), attribute)())
    except (ImportError, AttributeError) as error:
        raise HostFault(
            f"device kind {name!r} cannot be loaded from {known[name]}: {error}",
            hint="install the package again, or remove it",
        ) from error


def cards() -> list[str]:
    """Names of the cards in the catalogue."""
    return sorted(path.stem for path in CATALOGUE.glob("*.toml"))


def find_card(name: str) -> Path:
    """The file of a catalogue card. Raises NotFound."""
    if name not in cards():
        raise NotFound(
            f"no card {name!r} in the catalogue", hint=f"there are: {', '.join(cards())}"
        )
    return CATALOGUE / f"{name}.toml"


def load_card(path: Path) -> Card:
    """Read and check a card file. Raises NotFound, HostFault or InvalidArgument naming the file."""
    return parse_card(_read(path), str(path))


def parse_card(text: str, where: str) -> Card:
    """Check the text of a card file; ``where`` names it in messages."""
    try:
        table: Mapping[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{where} is not TOML: {error}") from error
    name = table.get("kind")
    if not isinstance(name, str):
        raise InvalidArgument(
            f"kind in {where} is {name!r}", hint=f"one of {', '.join(sorted(kinds()))}"
        )
    return find_kind(name).card(table, where)


def model(card: Card, profile: Profile) -> DeviceModel:
    """The model of what a VF of this profile owns of a card."""
    return find_kind(card.kind).model(card, profile)


def find_profile(card: Card, name: str) -> Profile:
    """A profile of a card. Raises NotFound naming those that there are."""
    for profile in card.profiles:
        if profile.name == name:
            return profile
    there = ", ".join(profile.name for profile in card.profiles)
    raise NotFound(f"card {card.name} has no profile {name!r}", hint=f"it has: {there}")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(CARD_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(
            f"no card file {path}", hint=f"catalogue cards: {', '.join(cards())}"
        ) from error
    except OSError as error:
        raise HostFault(f"card file {path} cannot be read: {error.strerror}") from error
    if len(data) > CARD_FILE_BYTES:
        raise InvalidArgument(f"card file {path} is longer than {CARD_FILE_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"card file {path} is not UTF-8: {error.reason}") from error
