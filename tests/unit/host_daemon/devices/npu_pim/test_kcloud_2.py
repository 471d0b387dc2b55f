"""The card kcloud-2: an NPU with HBM-PIM."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from host_daemon.core.device import Card, DeviceModel, Operation
from host_daemon.devices.npu_pim.kind import NpuPimKind
from host_daemon.devices.pim.family import find_family
from host_daemon.devices.registry import find_card, load_card, model
from tests.conformance.device import DeviceConformance
from vaccel.errors import InvalidArgument
from vaccel.model import DType, Profile

F16 = DType.FLOAT16


class TestKcloud2(DeviceConformance):
    card_file: Path = find_card("kcloud-2")


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card(find_card("kcloud-2"))


@pytest.fixture(scope="module")
def device(card: Card) -> DeviceModel:
    return model(card, card.profiles[-1])


def product(rows: int, k: int, n: int, constant: bool = True) -> Operation:
    shapes = ((F16, (rows, k)), (F16, (k, n)))
    weights = frozenset({1} if constant else ())
    return Operation("MatMul", shapes, ((F16, (rows, n)),), {}, weights)


def test_a_vector_goes_to_the_banks_and_a_batch_to_the_arrays(device: DeviceModel) -> None:
    assert device.cost(product(1, 4096, 4096)).place == "banks"
    assert device.cost(product(64, 4096, 4096)).place == "array"
    assert device.cost(product(1, 64, 64)).place == "array"


def test_what_comes_late_is_the_arrays(device: DeviceModel) -> None:
    """A matrix of this launch, such as scores' keys, lies in no bank's order."""
    fresh = device.cost(product(1, 4096, 4096, constant=False))
    assert fresh.critical_cycles >= device.cost(product(1, 4096, 4096)).critical_cycles


def test_any_size_is_padded_and_computed_where_the_cost_says(card: Card) -> None:
    random = np.random.default_rng(4)
    one_core = model(card, card.profiles[0])
    channels = Profile("x", "pim", 8, 1 << 30, 1 << 37, 1 << 20)
    banks = find_family("hbm-pim").banks(card.parameters.banks, channels)
    for k, n in ((700, 999), (1025, 513)):
        x = random.standard_normal((1, k)).astype(np.float16)
        w = random.standard_normal((k, n)).astype(np.float16)
        asked = product(1, k, n)
        assert one_core.cost(asked).place == "banks"
        result, expected = one_core.run(asked, [x, w]), banks.run(asked, [x, w])
        assert result is not None and expected is not None
        assert np.array_equal(result[0], expected[0])
        assert np.allclose(result[0], x.astype(float) @ w.astype(float), rtol=0.05, atol=2)


def test_the_same_arrays_as_kcloud_1() -> None:
    one, two = (
        tomllib.loads(find_card(name).read_text()) for name in ("kcloud-1", "kcloud-2")
    )
    for table in ("array", "sram", "noc", "vector", "launch", "arithmetic", "energy"):
        assert one[table] == two[table], table


def test_the_banks_are_those_of_the_pim_card() -> None:
    pim, two = (
        tomllib.loads(find_card(name).read_text()) for name in ("aquabolt-xl", "kcloud-2")
    )
    for key, cell in pim["timing"].items():
        assert two["pim"]["timing"][key]["value"] == cell["value"], key
    for key, cell in pim["energy"].items():
        assert two["pim"]["energy"][key]["value"] == cell["value"], key


def test_more_channels_than_the_card_are_refused() -> None:
    table = tomllib.loads(find_card("kcloud-2").read_text())
    table["pim"]["channels"]["value"] = 128
    with pytest.raises(InvalidArgument, match=r"pim\.channels.* = 128, but dram\.channels = 64"):
        NpuPimKind().card(table, "a.toml")


def test_figures_of_both(card: Card) -> None:
    found = {figure.name: figure for figure in card.figures}
    assert found["peak fp16"].value == pytest.approx(262e12, rel=0.01)
    assert found["PIM channels"].value == 64
    assert found["PIM internal bandwidth"].value == pytest.approx(4 * 1024e9)
    assert not any(figure.published for figure in card.figures)
    device = model(card, card.profiles[-1])
    assert found["power idle"].value == pytest.approx(device.idle_watts)
