"""A VF of an AiM card: what its banks take, what that costs, and what they compute."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest

from host_daemon.core.device import ARITHMETIC, DeviceModel, Operation
from host_daemon.devices.pim.aim.activation import activate
from host_daemon.devices.pim.aim.arithmetic import gemv, multiply, rounded
from host_daemon.devices.pim.aim.family import Aim
from host_daemon.devices.registry import find_card, find_kind, find_profile, load_card, model
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import DType, Shape

F32 = DType.FLOAT32
CARD = load_card(find_card("aim"))
BF16 = {ARITHMETIC: "bf16"}


def device(profile: str = "pim.32c.16g") -> DeviceModel:
    return model(CARD, find_profile(CARD, profile))


def operation(op: str, *shapes: Shape, constant: bool = True, **attributes: Any) -> Operation:
    outputs = ((F32, (1,)),)
    if op == "MatMul":
        outputs = ((F32, (*shapes[0][:-1], shapes[1][-1])),)
    elif op != "Gemm":
        outputs = ((F32, shapes[0]),)
    weights = frozenset({1} if constant else ())
    inputs = tuple((F32, shape) for shape in shapes)
    return Operation(op, inputs, outputs, BF16 | attributes, weights)


def test_a_vector_by_a_matrix_runs_in_the_banks() -> None:
    cost = device().cost(operation("MatMul", (1, 1024), (1024, 4096)))
    assert cost.place == "banks"
    # The simulator's row, buffer written once: 2,417 cycles.
    assert cost.cycles["banks"] == 2417
    assert cost.macs == 1024 * 4096
    assert cost.bytes["banks"] == 1024 * 4096 * 2
    assert cost.joules["bank MAC16"] == pytest.approx(1024 * 4096 / 256 * 1.314e-9)
    assert cost.joules["bank ACT16"] == pytest.approx(32 * 8 * 16 * 2.95e-9)
    # The host turns 1,024 values to bf16 and 4,096 back.
    assert cost.cycles["host"] == 5
    assert "bus" not in cost.cycles


def test_inputs_that_do_not_fit_the_buffer_are_written_again() -> None:
    cost = device().cost(operation("MatMul", (1, 2048), (2048, 1024)))
    # 415 + 406 in the first pass, 820 in the second.
    assert cost.cycles["banks"] == 1641
    # Two passes of two chunks, on 32 channels: buffers, biases and results.
    assert cost.bytes["dram"] == 32 * (2 * 128 + 2 + 2) * 32


def test_what_is_done_sooner_by_the_host_is_the_hosts() -> None:
    """Many rows read weights once each; a small matrix leaves most banks without work."""
    places = [
        device().cost(operation("MatMul", (rows, 4096), (4096, 4096))).place
        for rows in (1, 8, 9, 256)
    ]
    assert places == ["banks", "banks", "host", "host"]
    small = operation("MatMul", (8, 16), (16, 16))
    assert device().cost(small).place == "host"
    x, w = numbers(8, 16), numbers(16, 16)
    result = device().run(small, [x, w])
    assert result is not None
    assert np.array_equal(result[0], rounded(rounded(x) @ rounded(w)))


def test_a_matrix_that_is_no_weight_is_laid_out_first() -> None:
    weight = device().cost(operation("MatMul", (1, 1024), (1024, 1024)))
    fresh = device().cost(operation("MatMul", (1, 1024), (1024, 1024), constant=False))
    assert weight.place == "banks"
    assert fresh.place == "host"


def test_fewer_channels_take_longer() -> None:
    asked = operation("MatMul", (1, 4096), (4096, 4096))
    before = 0
    for profile in ("pim.32c.16g", "pim.16c.8g", "pim.8c.4g", "pim.2c.1g"):
        cycles = device(profile).cost(asked).cycles["banks"]
        assert cycles >= 1.9 * before
        before = cycles


def test_batches_share_the_channels() -> None:
    one = device().cost(operation("MatMul", (1, 1, 2048), (1, 2048, 128)))
    many = device().cost(operation("MatMul", (4, 1, 2048), (4, 2048, 128)))
    assert one.cycles["banks"] == many.cycles["banks"]


def test_float32_is_the_hosts() -> None:
    plain = Operation("MatMul", ((F32, (1, 1024)), (F32, (1024, 1024))), ((F32, (1, 1024)),))
    assert device().cost(plain).place == "host"
    assert not device().computes(plain)
    assert device().run(plain, [np.ones((1, 1024)), np.ones((1024, 1024))]) is None


def test_another_arithmetic_is_refused_by_name() -> None:
    asked = Operation("MatMul", ((F32, (1, 8)), (F32, (8, 8))), (None,), {ARITHMETIC: "fp8_e4m3"})
    with pytest.raises(Unsupported, match=r"aim does not compute in fp8_e4m3.*bf16"):
        device().cost(asked)


def test_element_wise_products_stay_in_the_banks() -> None:
    cost = device().cost(operation("Mul", (4096,), (4096,)))
    # Two columns of 64 products in each channel: open a row, two commands, done.
    assert (cost.place, cost.cycles["banks"]) == ("banks", 1 + 25 + 2 + 1 + 2)
    assert cost.bytes["dram"] == 0
    assert device().cost(operation("Mul", (64, 64), (64,))).place == "host"


def test_activations_alone_are_rarely_worth_it() -> None:
    asked = operation("Tanh", (100_000,))
    assert device().cost(asked).place == "host"
    assert device().run(asked, [np.zeros(100_000, np.float32)]) is None


RANDOM = np.random.default_rng(3)


def numbers(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1000, 513), (1025, 129), (4099, 40)])
def test_sizes_that_are_no_multiple(shape: tuple[int, int]) -> None:
    x, w = numbers(1, shape[0]), numbers(*shape)
    asked = operation("MatMul", x.shape, w.shape)
    result = device("pim.2c.1g").run(asked, [x, w])
    assert device("pim.2c.1g").cost(asked).place == "banks"
    assert result is not None
    assert np.array_equal(result[0], gemv(w, x[0])[None])
    exact = rounded(x).astype(float) @ rounded(w).astype(float)
    assert np.allclose(result[0], exact, rtol=2**-7, atol=2**-7 * shape[0] ** 0.5)


def test_gemm_begins_with_its_bias() -> None:
    x, w, c = numbers(1, 640), numbers(512, 640), numbers(512)
    asked = operation("Gemm", x.shape, w.shape, c.shape, transB=1)
    result = device().run(asked, [x, w, c])
    assert result is not None
    assert np.array_equal(result[0], gemv(w.T, x[0], c)[None])
    scaled = operation("Gemm", x.shape, w.shape, c.shape, transB=1, alpha=0.5, beta=2.0)
    other = device().run(scaled, [x, w, c])
    assert other is not None
    expected = gemv(w.T, x[0]) * np.float32(0.5) + rounded(c) * np.float32(2)
    assert np.array_equal(other[0], rounded(expected)[None])
    plain, more = device().cost(asked), device().cost(scaled)
    assert more.critical_cycles >= plain.critical_cycles


def test_matmul_broadcasts() -> None:
    banks = Aim().banks(CARD, find_profile(CARD, "pim.32c.16g"))
    x, w = numbers(3, 1, 512), numbers(512, 768)
    result = banks.run(operation("MatMul", x.shape, w.shape), [x, w])
    assert result is not None
    assert np.array_equal(result[0], np.stack([gemv(w, row[0])[None] for row in x]))
    vector = banks.run(
        Operation("MatMul", ((F32, (512,)), (F32, (512, 768))), ((F32, (768,)),), BF16,
                  frozenset({1})),
        [x[0, 0], w],
    )
    assert vector is not None
    assert np.array_equal(vector[0], gemv(w, x[0, 0]))


def test_element_wise_results() -> None:
    a, b = numbers(65, 77), numbers(65, 77)
    result = device().run(operation("Mul", a.shape, b.shape), [a, b])
    assert result is not None
    assert np.array_equal(result[0], multiply(a, b))


def test_activations_where_they_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    banks = Aim().banks(CARD, find_profile(CARD, "pim.32c.16g"))
    monkeypatch.setattr(banks._host, "operations_per_cycle", 1e-3)
    x = numbers(3, 5)
    result = banks.run(operation("Tanh", x.shape), [x])
    assert result is not None
    assert np.array_equal(result[0], activate("Tanh", x))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"MatMul.*\[1, 8\].*\[9, 8\]"):
        device().cost(operation("MatMul", (1, 8), (9, 8)))
    with pytest.raises(InvalidArgument, match="input 1 is missing"):
        device().run(operation("Mul", (9999,), (9999,)), [numbers(9999), None])


def test_batches_that_do_not_broadcast_are_refused() -> None:
    asked = operation("MatMul", (2, 1, 512), (3, 512, 512))
    with pytest.raises(InvalidArgument, match=r"MatMul: shapes .*\[3, 512, 512\].*do not fit"):
        device().run(asked, [numbers(2, 1, 512), numbers(3, 512, 512)])


def test_more_channels_than_the_card_are_refused() -> None:
    table = tomllib.loads(find_card("aim").read_text())
    table["profile"][0]["cores"]["value"] = 33
    with pytest.raises(InvalidArgument, match=r"profile\[0\]\.cores.* = 33 .*card has 32"):
        find_kind("pim").card(table, "a.toml")
    table["card"]["cores"]["value"] = 64
    with pytest.raises(InvalidArgument, match=r"card\.cores.* = 64.*at most 32 channels"):
        find_kind("pim").card(table, "a.toml")


def test_a_card_without_a_delay_is_refused() -> None:
    table = tomllib.loads(find_card("aim").read_text())
    del table["timing"]["rcd_mac"]
    with pytest.raises(InvalidArgument, match=r"timing\.rcd_mac in a\.toml is missing"):
        find_kind("pim").card(table, "a.toml")
    table = tomllib.loads(find_card("aim").read_text())
    table["timing"]["ccd"]["value"] = "0 cycles"
    with pytest.raises(InvalidArgument, match=r"timing\.ccd.*at least 1"):
        find_kind("pim").card(table, "a.toml")


def test_published_figures_come_out() -> None:
    figures = {each.name: each for each in CARD.figures}
    for name in ("peak bf16", "internal bandwidth"):
        assert figures[name].value == pytest.approx(figures[name].published, rel=0.03)
    assert 50 < figures["power peak"].value < 75
    assert figures["power idle"].value < 20
