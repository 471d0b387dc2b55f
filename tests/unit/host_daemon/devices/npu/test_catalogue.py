from __future__ import annotations

import pytest

from host_daemon.core.device import Card, Operation
from host_daemon.devices.npu.device import ARITHMETIC
from host_daemon.devices.npu.energy import peak_operations, peak_watts
from host_daemon.devices.npu.parameters import NpuParameters
from host_daemon.devices.registry import cards, find_card, load_card, model
from vaccel.model import DType

CARDS = [card for card in (load_card(find_card(name)) for name in cards()) if card.kind == "npu"]
PUBLIC = ["warboy", "rngd", "atom", "rebel-quad", "x330"]


def parameters(card: Card) -> NpuParameters:
    assert isinstance(card.parameters, NpuParameters)
    return card.parameters


def test_the_catalogue_has_the_cards() -> None:
    names = {card.name for card in CARDS}
    assert names >= {"kcloud-1", "server-1", "edge-1", *PUBLIC}


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_value_has_a_source_and_memory_is_marked(card: Card) -> None:
    for each in parameters(card).provenance:
        assert each.source, each.field
        if "from memory" in each.source and not each.field.startswith("arithmetic"):
            assert each.unverified, each.field


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_published_figures_come_out(card: Card) -> None:
    own = parameters(card)
    assert bool(own.published_peaks) == (card.name in PUBLIC)
    for name, published in own.published_peaks.items():
        peak = peak_operations(own, name, card.cores, card.clock_hz)
        assert peak == pytest.approx(published, rel=0.02), name
    if own.published_watts is not None:
        most = max(peak_watts(own, card, name) for name in own.arithmetic)
        assert most == pytest.approx(own.published_watts, rel=0.10)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_large_product_nears_the_peak_or_the_bandwidth(card: Card) -> None:
    own = parameters(card)
    whole = max(card.profiles, key=lambda profile: profile.cores)
    spec = (DType.INT8, (8000, 8000))
    operation = Operation("MatMul", (spec, spec), (spec,), {ARITHMETIC: "int8"})
    cost = model(card, whole).cost(operation)
    seconds = cost.critical_cycles / card.clock_hz
    peak = peak_operations(own, "int8", card.cores, card.clock_hz)
    compute = 2 * cost.macs / seconds / peak
    memory = cost.bytes["dram"] / seconds / card.bandwidth_bytes_per_second
    assert max(compute, memory / own.efficiency) > 0.75
    assert max(compute, memory) <= 1.0


def test_partitions_of_rngd_are_the_vendors() -> None:
    rngd = load_card(find_card("rngd"))
    assert {rngd.cores // profile.cores for profile in rngd.profiles} == {1, 2, 4, 8}
