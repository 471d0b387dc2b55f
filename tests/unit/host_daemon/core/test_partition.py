from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.core.partition import (
    admit,
    core_owners,
    fits,
    place,
    profile_of,
    size,
    vf_admission,
    vm_admission,
)
from vaccel import bounds
from vaccel.errors import Exhausted, NotFound
from vaccel.model import Profile

GIB = bounds.GIB


@dataclass(frozen=True)
class Card:
    cores: int
    memory_bytes: int
    profiles: tuple[Profile, ...]
    name: str = "card"


@dataclass(frozen=True)
class Held:
    cores: tuple[int, ...]
    memory_bytes: int


def profile(cores: int, memory: int = 0) -> Profile:
    memory = memory or cores * 6 * GIB
    return Profile(f"npu.{cores}c", "npu", cores, memory, 1, 1)


def card(cores: int = 8, *sizes: int) -> Card:
    return Card(cores, cores * 6 * GIB, tuple(profile(n) for n in sizes or (1, 2, 4, 8)))


def fill(on: Card, *sizes: int) -> list[Held]:
    taken: list[Held] = []
    for cores in sizes:
        one = profile(cores)
        taken.append(Held(place(on, taken, one), one.memory_bytes))
    return taken


def test_ranges_are_contiguous_and_aligned() -> None:
    assert [held.cores for held in fill(card(), 1, 2, 4, 1)] == [
        (0,),
        (2, 3),
        (4, 5, 6, 7),
        (1,),
    ]


def test_the_smallest_room_is_taken() -> None:
    taken = [Held((4,), GIB), Held((6, 7), GIB)]
    assert place(card(), taken, profile(1)) == (5,)
    assert place(card(), taken, profile(2)) == (0, 1)


def test_sizes_that_are_no_powers_of_two() -> None:
    assert [held.cores for held in fill(card(12, 6, 3), 6, 6)] == [
        (0, 1, 2, 3, 4, 5),
        (6, 7, 8, 9, 10, 11),
    ]
    assert len(fill(card(9, 3), 3, 3, 3)) == 3


def test_exhausted_says_what_is_free_and_what_fits() -> None:
    taken = fill(card(), 4, 2)
    with pytest.raises(Exhausted) as caught:
        place(card(), taken, profile(4), "npu0")
    assert caught.value.message == (
        "npu0 has no room for npu.4c (4 cores, 24 GiB): 2 of 8 cores and 12 GiB of 48 GiB are free"
    )
    assert caught.value.hint == "what still fits: npu.1c (2), npu.2c (1)"


def test_exhausted_says_when_cores_are_scattered() -> None:
    taken = [Held((core,), GIB) for core in (1, 3)]
    with pytest.raises(Exhausted, match="but not side by side"):
        place(card(4), taken, profile(2, GIB))


def test_a_full_card_says_so() -> None:
    with pytest.raises(Exhausted) as caught:
        place(card(), fill(card(), 8), profile(1))
    assert caught.value.hint == "nothing more fits: destroy a VF"


def test_memory_runs_out_before_cores() -> None:
    on = Card(8, 10 * GIB, (profile(1, 4 * GIB),))
    taken = [Held((0,), 4 * GIB), Held((1,), 4 * GIB)]
    assert fits(on, taken) == {"npu.1c": 0}
    with pytest.raises(Exhausted, match="6 of 8 cores and 2 GiB of 10 GiB are free"):
        place(on, taken, on.profiles[0])


def test_an_unknown_profile_lists_the_known() -> None:
    assert profile_of(card(), "npu.2c").cores == 2
    with pytest.raises(NotFound) as caught:
        profile_of(card(), "npu.3c")
    assert str(caught.value) == (
        "card card has no profile 'npu.3c' (its profiles: npu.1c, npu.2c, npu.4c, npu.8c)"
    )


def test_owners_by_core() -> None:
    owners = core_owners(card(4), [("vf-1", Held((2, 3), 1)), ("vf-2", Held((0,), 1))])
    assert owners == ("vf-2", "", "vf-1", "vf-1")


# --- host memory ---------------------------------------------------------------------------


def test_admission_is_window_and_overhead() -> None:
    assert vf_admission(256 << 20) == (256 << 20) + bounds.WORKER_OVERHEAD_BYTES
    assert vm_admission(512 << 20) == (512 << 20) + bounds.VM_OVERHEAD_BYTES


def test_admission_up_to_the_last_byte() -> None:
    assert admit(10 * GIB, 7 * GIB, 3 * GIB, "VF a") == 10 * GIB
    with pytest.raises(Exhausted) as caught:
        admit(10 * GIB, 7 * GIB, 3 * GIB + 1, "VF a")
    assert "VF a needs 3 GiB of host memory, and 3 GiB of 10 GiB are left" in str(caught.value)


def test_admission_beyond_a_limit_that_was_lowered() -> None:
    with pytest.raises(Exhausted, match="and 0 B of 1 GiB are left"):
        admit(GIB, 2 * GIB, 1, "VF a")


def test_sizes_for_people() -> None:
    assert [size(n) for n in (0, 300, 1536, 5 << 20, 3 * GIB // 2, 2048 * GIB)] == [
        "0 B",
        "300 B",
        "1.5 KiB",
        "5 MiB",
        "1.5 GiB",
        "2048 GiB",
    ]


# --- for all cards and all orders ----------------------------------------------------------

cores_of_cards = st.integers(1, 48)
any_size = st.integers(1, 16)
power_of_two = st.sampled_from([1, 2, 4, 8, 16])


@settings(deadline=None)
@given(cores_of_cards, st.lists(st.tuples(any_size, st.booleans()), max_size=40))
def test_never_overlapping_never_more_than_the_card(
    cores: int, wishes: list[tuple[int, bool]]
) -> None:
    on = card(cores, *range(1, 17))
    taken: list[Held] = []
    for wanted, free_one in wishes:
        one = profile(wanted)
        if free_one and taken:
            taken.pop(wanted % len(taken))
        promised = fits(on, taken)[one.name]
        try:
            got = place(on, taken, one)
        except Exhausted:
            assert promised == 0
            continue
        assert promised > 0
        assert got == tuple(range(got[0], got[0] + wanted))
        assert got[0] % (wanted & -wanted) == 0
        taken.append(Held(got, one.memory_bytes))
        owned = [core for held in taken for core in held.cores]
        assert len(owned) == len(set(owned))
        assert set(owned) <= set(range(cores))
        assert sum(held.memory_bytes for held in taken) <= on.memory_bytes


@settings(deadline=None)
@given(cores_of_cards, any_size, st.lists(st.integers(0, 47), max_size=20))
def test_what_fits_can_be_placed_that_often(cores: int, wanted: int, busy: list[int]) -> None:
    on = card(cores, wanted)
    taken = [Held((core,), 0) for core in set(busy) if core < cores]
    promised = fits(on, taken)[f"npu.{wanted}c"]
    for left in range(promised, 0, -1):
        assert fits(on, taken)[f"npu.{wanted}c"] == left
        one = profile(wanted)
        taken.append(Held(place(on, taken, one), one.memory_bytes))
    with pytest.raises(Exhausted):
        place(on, taken, profile(wanted))


@settings(deadline=None)
@given(cores_of_cards, st.lists(power_of_two, max_size=40))
def test_powers_of_two_fit_in_any_order_that_fits_in_sum(cores: int, wishes: list[int]) -> None:
    on = card(cores, 1, 2, 4, 8, 16)
    taken: list[Held] = []
    left = cores
    for wanted in wishes:
        if wanted <= left:
            one = profile(wanted)
            taken.append(Held(place(on, taken, one), one.memory_bytes))
            left -= wanted
    assert sum(len(held.cores) for held in taken) == cores - left
