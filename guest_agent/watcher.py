"""What came and what went on the PCI bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from guest_agent.pci import Function, PciBus


@dataclass(frozen=True, slots=True)
class Change:
    """A function came (``present``) or went."""

    function: Function
    present: bool


def compare(old: frozenset[Function], new: frozenset[Function]) -> tuple[Change, ...]:
    """What turns the old set into the new one: departures first, each in order of address."""
    gone = (Change(function, False) for function in sorted(old - new))
    come = (Change(function, True) for function in sorted(new - old))
    return (*gone, *come)


async def changes(bus: PciBus, wait: Callable[[], Awaitable[None]]) -> AsyncGenerator[Change, None]:
    """Every change from an empty bus on, for ever. ``wait`` returns when to look again."""
    known: frozenset[Function] = frozenset()
    while True:
        found = bus.scan()
        for change in compare(known, found):
            yield change
        known = found
        await wait()
