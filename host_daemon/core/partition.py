"""Which cores a new VF gets, and whether a host can bear it. Pure: values in, values out.

Placement
    A VF owns a contiguous range of cores, because neighbours share a slice of the on-chip network
    and of the memory's channels. A range of n cores starts at a multiple of the largest power of
    two that divides n, so that ranges whose sizes are powers of two behave as in a buddy allocator
    (Knowlton, CACM 8(10), 1965): as long as nothing was freed, any set of them that fits in sum
    fits in any order.

    Among the places that a left-to-right packing of the same profile would use, the one in the
    smallest room is taken (best fit), a room being a free aligned power-of-two block. Taking one of
    the packing's places leaves all others, so ``fits`` keeps its word: it says n, and n more VFs of
    that profile can be placed.

Host memory
    Windows, workers' own memory and VMs' memory are admitted up front (``admit``). Device memory is
    admitted when it is used, because a 48 GiB profile on an idle VF costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from vaccel import bounds
from vaccel.errors import Exhausted, NotFound


class Size(Protocol):
    """A profile, as far as placement cares. ``vaccel.model.Profile`` is one."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def cores(self) -> int: ...  # noqa: D102
    @property
    def memory_bytes(self) -> int: ...  # noqa: D102


SizeT_co = TypeVar("SizeT_co", bound=Size, covariant=True)
SizeT = TypeVar("SizeT", bound=Size)


class Divisible(Protocol[SizeT_co]):
    """A card, as far as placement cares. ``host_daemon.core.device.Card`` is one."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def cores(self) -> int: ...  # noqa: D102
    @property
    def memory_bytes(self) -> int: ...  # noqa: D102
    @property
    def profiles(self) -> Sequence[SizeT_co]: ...  # noqa: D102


class Slice(Protocol):
    """What a VF holds of its card. ``VfRecord`` is one."""

    @property
    def cores(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def memory_bytes(self) -> int: ...  # noqa: D102


def profile_of(card: Divisible[SizeT], name: str) -> SizeT:
    """The card's profile of that name. Raises NotFound, listing the names there are."""
    for profile in card.profiles:
        if profile.name == name:
            return profile
    known = ", ".join(profile.name for profile in card.profiles)
    raise NotFound(f"card {card.name} has no profile {name!r}", hint=f"its profiles: {known}")


def place(
    card: Divisible[Size], taken: Iterable[Slice], profile: Size, where: str = ""
) -> tuple[int, ...]:
    """The cores of a new VF, beside the slices already taken.

    ``where`` names the PF in the message. Raises Exhausted with what is free and what still fits.
    """
    held = tuple(taken)
    free = _free_cores(card, held)
    starts = _packing(free, profile.cores)
    if not starts or _free_memory(card, held) < profile.memory_bytes:
        raise _exhausted(card, held, profile, where or card.name)
    rooms = _rooms(free)
    start = min(starts, key=lambda at: (max(rooms[at : at + profile.cores]), at))
    return tuple(range(start, start + profile.cores))


def fits(card: Divisible[Size], taken: Iterable[Slice]) -> dict[str, int]:
    """How many more VFs of each profile fit, each counted as if it were the only one asked for."""
    held = tuple(taken)
    free = _free_cores(card, held)
    memory = _free_memory(card, held)
    return {
        profile.name: min(len(_packing(free, profile.cores)), memory // profile.memory_bytes)
        for profile in card.profiles
    }


def core_owners(card: Divisible[Size], taken: Iterable[tuple[str, Slice]]) -> tuple[str, ...]:
    """Who owns each core: the name given with its slice, or ""."""
    owners = [""] * card.cores
    for name, held in taken:
        for core in held.cores:
            owners[core] = name
    return tuple(owners)


def vf_admission(window_bytes: int) -> int:
    """Bytes of host memory that a VF is admitted with: its window, and its worker's own memory."""
    return window_bytes + bounds.WORKER_OVERHEAD_BYTES


def vm_admission(memory_bytes: int) -> int:
    """Bytes of host memory that a VM is admitted with: the guest's, and the emulator's own."""
    return memory_bytes + bounds.VM_OVERHEAD_BYTES


def admit(limit_bytes: int, admitted_bytes: int, wanted_bytes: int, what: str) -> int:
    """The sum admitted once ``what`` is in. Raises Exhausted, naming what is left of the limit."""
    total = admitted_bytes + wanted_bytes
    if total > limit_bytes:
        left = max(0, limit_bytes - admitted_bytes)
        raise Exhausted(
            f"{what} needs {size(wanted_bytes)} of host memory, and {size(left)} of "
            f"{size(limit_bytes)} are left",
            hint="destroy VFs, stop VMs, or ask for less memory",
        )
    return total


def size(count: int) -> str:
    """Bytes for people: ``18 GiB``, ``1.5 GiB``, ``300 B``."""
    unit, scale = "B", 1
    for name, step in (("KiB", bounds.KIB), ("MiB", bounds.MIB), ("GiB", bounds.GIB)):
        if count >= step:
            unit, scale = name, step
    return f"{count / scale:.4g} {unit}"


def _free_cores(card: Divisible[Size], held: Sequence[Slice]) -> list[bool]:
    free = [True] * card.cores
    for one in held:
        for core in one.cores:
            free[core] = False
    return free


def _free_memory(card: Divisible[Size], held: Sequence[Slice]) -> int:
    return card.memory_bytes - sum(one.memory_bytes for one in held)


def _packing(free: Sequence[bool], cores: int) -> list[int]:
    """Where ranges of this size start when packed from the left; no packing holds more of them."""
    alignment = cores & -cores
    starts = []
    at = 0
    while at + cores <= len(free):
        last_busy = next((i for i in range(at + cores - 1, at - 1, -1) if not free[i]), None)
        after = at + cores
        if last_busy is None:
            starts.append(at)
        else:
            after = last_busy + 1
        at = -(-after // alignment) * alignment
    return starts


def _rooms(free: Sequence[bool]) -> list[int]:
    """For each core the size of the largest free aligned block of 2^n cores around it, or 0."""
    rooms = [int(one) for one in free]
    block = 2
    while block <= len(free):
        for start in range(0, len(free) - block + 1, block):
            if all(free[start : start + block]):
                rooms[start : start + block] = [block] * block
        block *= 2
    return rooms


def _exhausted(
    card: Divisible[Size], held: Sequence[Slice], profile: Size, where: str
) -> Exhausted:
    free = sum(_free_cores(card, held))
    memory = max(0, _free_memory(card, held))
    left = [f"{name} ({count})" for name, count in fits(card, held).items() if count > 0]
    still = f"what still fits: {', '.join(left)}" if left else "nothing more fits: destroy a VF"
    scattered = free >= profile.cores and memory >= profile.memory_bytes
    return Exhausted(
        f"{where} has no room for {profile.name} ({profile.cores} cores, "
        f"{size(profile.memory_bytes)}): {free} of {card.cores} cores and {size(memory)} of "
        f"{size(card.memory_bytes)} are free" + (", but not side by side" if scattered else ""),
        hint=still,
    )
