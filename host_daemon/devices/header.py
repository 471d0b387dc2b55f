"""What the files of all kinds of card have in common: the name, the cores, the memory, the
profiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from host_daemon.devices.fields import Section
from vaccel import units
from vaccel.bounds import GIB, MIB
from vaccel.errors import InvalidArgument
from vaccel.ids import is_name
from vaccel.model import Profile


@dataclass(frozen=True, slots=True)
class Header:
    """The common part of a card. Sizes are bytes, the clock is Hz."""

    name: str
    kind: str
    vendor: str
    summary: str
    cores: int
    clock_hz: float
    memory_bytes: int
    bandwidth_bytes_per_second: int
    profiles: tuple[Profile, ...]


def read_header(root: Section) -> Header:
    """Check the common part. Raises InvalidArgument naming field, value and file."""
    name, kind = root.text("name"), root.text("kind")
    if not is_name(name):
        raise InvalidArgument(
            f"{root.name('name')} = {name!r} is no name", hint="small letters, digits, dot and dash"
        )
    vendor, summary = root.text("vendor"), root.text("summary")
    card = root.section("card")
    cores = card.count("cores", most=4096)
    clock_hz = card.quantity("clock", units.FREQUENCY)
    memory = card.whole("memory", units.SIZE)
    bandwidth = card.whole("bandwidth", units.BANDWIDTH)
    window = card.whole("window", units.SIZE)
    if window & (window - 1) or not MIB <= window <= GIB:
        raise InvalidArgument(
            f"{card.name('window')} = {window} B is no power of two from 1 MiB to 1 GiB",
            hint="a PCI BAR has no other size",
        )
    card.finish()
    common = Header(name, kind, vendor, summary, cores, clock_hz, memory, bandwidth, ())
    profiles = tuple(_profile(each, common, window) for each in root.sections("profile"))
    _check_distinct(profiles, root)
    return Header(name, kind, vendor, summary, cores, clock_hz, memory, bandwidth, profiles)


def _profile(section: Section, card: Header, window: int) -> Profile:
    name = section.text("name")
    cores = section.count("cores", most=4096)
    memory = section.whole("memory", units.SIZE)
    section.finish()
    if not is_name(name):
        raise InvalidArgument(f"{section.name('name')} = {name!r} is no name")
    if cores > card.cores:
        raise InvalidArgument(
            f"{section.name('cores')} = {cores} of profile {name}, but the card has {card.cores}"
        )
    if memory > card.memory_bytes:
        raise InvalidArgument(
            f"{section.name('memory')} = {memory} B of profile {name}, but the card has"
            f" {card.memory_bytes} B"
        )
    # A VF's bandwidth is the share of its cores: partitions of real cards own their channels.
    bandwidth = card.bandwidth_bytes_per_second * cores // card.cores
    return Profile(name, card.kind, cores, memory, bandwidth, window)


def _check_distinct(profiles: tuple[Profile, ...], root: Section) -> None:
    seen: set[str] = set()
    for profile in profiles:
        if profile.name in seen:
            raise InvalidArgument(
                f"{root.name('profile')}: two profiles are named {profile.name!r}"
            )
        seen.add(profile.name)
