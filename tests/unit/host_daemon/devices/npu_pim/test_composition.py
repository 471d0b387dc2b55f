"""The kind npu-pim over a card made of two: the NPU of kcloud-1, with the banks of AiM as DRAM."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest

from host_daemon.core.device import ARITHMETIC, Card, Operation
from host_daemon.devices.npu.kind import NpuKind
from host_daemon.devices.npu_pim.device import NpuPimDevice
from host_daemon.devices.npu_pim.kind import NpuPimKind
from host_daemon.devices.pim.aim.arithmetic import gemv
from host_daemon.devices.registry import find_card
from vaccel.errors import InvalidArgument
from vaccel.model import DType

F32 = DType.FLOAT32


def table() -> dict[str, Any]:
    npu = tomllib.loads(find_card("kcloud-1").read_text())
    aim = tomllib.loads(find_card("aim").read_text())
    design = {"source": "design"}
    pim = {key: aim[key] for key in ("family", "banks", "timing", "energy", "power", "published")}
    pim |= {
        "channels": {"value": 32, **design},
        "clock": aim["card"]["clock"],
        "conflict": {
            "drain": {"value": "40 ns", **design},
            "handover": {"value": "100 ns", **design},
        },
    }
    npu |= {"kind": "npu-pim", "pim": pim, "sources": aim["sources"] | npu["sources"]}
    return npu


def card(changed: dict[str, Any] | None = None) -> Card:
    return NpuPimKind().card(changed or table(), "mixed.toml")


def device(cores: int = 8) -> NpuPimDevice:
    mixed = card()
    (profile,) = (each for each in mixed.profiles if each.cores == cores)
    found = NpuPimKind().model(mixed, profile)
    assert isinstance(found, NpuPimDevice)
    return found


def matmul(rows: int, size: int = 4096, arithmetic: str = "bf16") -> Operation:
    shapes = ((F32, (rows, size)), (F32, (size, size)))
    return Operation(
        "MatMul", shapes, ((F32, (rows, size)),), {ARITHMETIC: arithmetic}, frozenset({1})
    )


def test_each_operation_goes_where_it_takes_less_time() -> None:
    places = [device().cost(matmul(rows)).place for rows in (1, 2, 4, 64, 512)]
    assert places == ["banks", "banks", "banks", "array", "array"]


def test_the_cost_of_the_other_place_is_never_less() -> None:
    plain = tomllib.loads(find_card("kcloud-1").read_text())
    npu_card = NpuKind().card(plain, "npu.toml")
    npu = NpuKind().model(npu_card, npu_card.profiles[-1])
    for rows in (1, 3, 8, 9, 10, 12, 40):
        cost, other = device().cost(matmul(rows)), npu.cost(matmul(rows))
        assert cost.critical_cycles <= other.critical_cycles
        assert (cost == other) == (cost.place == "array")


def test_a_change_of_master_is_paid_and_shown() -> None:
    cost = device().cost(matmul(1))
    # 40 cycles until rows are closed, 100 there and 100 back.
    assert cost.cycles["switch"] == 240
    # AiM's clock is twice the NPU's.
    assert cost.cycles["banks"] == pytest.approx(13_051 / 2, abs=10)
    assert cost.critical_cycles >= 100 + 240 + cost.cycles["banks"] + cost.cycles["vector"]


def test_arithmetic_that_only_the_arrays_have() -> None:
    for name in ("int8", "fp16", "fp32"):
        assert device().cost(matmul(1, arithmetic=name)).place == "array"


def test_a_vf_owns_channels_as_well_as_cores() -> None:
    assert [device(cores).channels for cores in (1, 2, 4, 8)] == [4, 8, 16, 32]
    before = 0
    for cores in (8, 4, 2, 1):
        cycles = device(cores).cost(matmul(1)).cycles["banks"]
        assert cycles > 1.9 * before
        before = cycles


def test_results_are_those_of_the_place() -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((1, 512)).astype(np.float32)
    w = random.standard_normal((512, 4096)).astype(np.float32)
    shapes = ((F32, x.shape), (F32, w.shape))
    asked = Operation(
        "MatMul", shapes, ((F32, (1, 4096)),), {ARITHMETIC: "bf16"}, frozenset({1})
    )
    assert device().cost(asked).place == "banks"
    assert device().computes(asked)
    result = device().run(asked, [x, w])
    assert result is not None
    assert np.array_equal(result[0], gemv(w, x[0])[None])
    small = matmul(64, 32)
    assert device().cost(small).place == "array"
    on_array = device().run(small, [np.ones((64, 32), np.float32), np.ones((32, 32), np.float32)])
    assert on_array is not None
    assert np.all(on_array[0] == 32)
    plain = Operation("Relu", ((F32, (3,)),), ((F32, (3,)),))
    assert device().run(plain, [np.zeros(3, np.float32)]) is None


def test_while_banks_work_the_cores_are_gated() -> None:
    mine = device()
    in_banks = mine.cost(matmul(1, 8192))
    whole = mine.launch_cost([in_banks])
    seconds = whole.critical_cycles / mine.clock_hz
    watts = whole.joules["static"] / seconds
    idle, busy = mine.idle_watts, mine.launch_cost([]).joules["static"]
    busy /= mine.launch_cost([]).critical_cycles / mine.clock_hz
    assert idle < watts < busy


def test_energy_of_a_vector_product_is_less_in_the_banks() -> None:
    plain = tomllib.loads(find_card("kcloud-1").read_text())
    npu_card = NpuKind().card(plain, "npu.toml")
    npu = NpuKind().model(npu_card, npu_card.profiles[-1])
    mine = sum(device().cost(matmul(1)).joules.values())
    assert mine < 0.5 * sum(npu.cost(matmul(1)).joules.values())


def test_channels_that_cores_cannot_share_are_refused() -> None:
    broken = table()
    broken["pim"]["channels"]["value"] = 30
    with pytest.raises(InvalidArgument, match=r"pim\.channels.* = 30 .*8 cores"):
        card(broken)
    broken["pim"]["channels"]["value"] = 16
    with pytest.raises(InvalidArgument, match=r"pim\.channels.* = 16, but dram\.channels = 32"):
        card(broken)


def test_keys_of_the_dram_are_checked() -> None:
    broken = table()
    broken["pim"]["wheels"] = 4
    with pytest.raises(InvalidArgument, match=r"pim\.wheels"):
        card(broken)
    broken = table()
    broken["pim"]["family"] = "hmc"
    with pytest.raises(InvalidArgument, match=r"pim\.family.*'hmc'.*gddr6-aim"):
        card(broken)
    broken = table()
    del broken["pim"]["conflict"]["drain"]
    with pytest.raises(InvalidArgument, match=r"pim\.conflict\.drain in mixed\.toml is missing"):
        card(broken)


def test_another_kinds_card_is_refused() -> None:
    plain = tomllib.loads(find_card("kcloud-1").read_text())
    npu_card = NpuKind().card(plain, "npu.toml")
    with pytest.raises(InvalidArgument, match="of kind 'npu', not npu-pim"):
        NpuPimKind().model(npu_card, npu_card.profiles[0])
