"""Every bad input of an NPU that an operator or a tenant can give, each named with its value."""

from __future__ import annotations

import numpy as np
import pytest

from host_daemon.core.device import Card, Operation
from host_daemon.devices.npu.device import ARITHMETIC
from host_daemon.devices.registry import find_card, load_card, model, parse_card
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import DType

TEXT = find_card("kcloud-1").read_text()
SPEC = (DType.INT8, (64, 64))


def edited(*changes: tuple[str, str]) -> Card:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_card(text, "my.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[noc]", "[noc]\nspeed = 3", r"noc\.speed in my\.toml is an unknown key"),
        ('clock = { value = "1.0 GHz"', 'clock = { value = "1.0"', r"card\.clock in my.*'1\.0'"),
        ('clock = { value = "1.0 GHz"', "clock = { value = 1", r"card\.clock in my.*1"),
        ('clock = { value = "1.0 GHz"', 'clock = { value = "-1 GHz"', r"card\.clock.*'-1 GHz'"),
        ('clock = { value = "1.0 GHz"', 'clock = { value = "0 GHz"', r"card\.clock.*'0 GHz'"),
        ("cores = { value = 4,", "cores = { value = 9,", r"profile.2.\.cores.*= 9.*card has 8"),
        ('"32 MiB"', '"64 KiB"', r"sram\.capacity in my.*= 65536 B is smaller than two tiles"),
        ('"4 MiB"', '"64 KiB"', r"sram\.accumulators in my.*= 65536 B is smaller than two"),
    ],
)
def test_a_broken_card_file(old: str, new: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        edited((old, new))


def test_a_launch_whose_tile_cannot_fit() -> None:
    deep = 'rate = { value = "2 MAC/cycle", source = "design", note = "int4 weights'
    card = edited(('"32 MiB"', '"512 KiB"'), (deep, deep.replace("2 MAC", "64 MAC")))
    device = model(card, card.profiles[0])
    product = Operation("MatMulInteger", (SPEC, SPEC), ((DType.INT32, (64, 64)),))
    assert device.cost(product).place == "array"
    four = Operation(product.op, product.inputs, product.outputs, {ARITHMETIC: "int4"})
    with pytest.raises(
        Unsupported, match=r"MatMulInteger.*8192x128 in int4.*4194304.*524288"
    ) as at:
        device.cost(four)
    assert "sram.capacity" in at.value.hint


def test_a_state_file_of_another_card() -> None:
    ours, theirs = (load_card(find_card(name)) for name in ("kcloud-1", "rngd"))
    saved = model(theirs, theirs.profiles[0]).save()
    with pytest.raises(InvalidArgument, match="card = 'rngd', but this is 'kcloud-1'"):
        model(ours, ours.profiles[0]).restore(saved)
    other = model(ours, ours.profiles[1]).save()
    with pytest.raises(InvalidArgument, match=r"profile = 'npu\.2c\.12g'.*'npu\.1c\.6g'"):
        model(ours, ours.profiles[0]).restore(other)


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv"])
def test_nan_and_infinity_propagate(name: str, op: str) -> None:
    card = load_card(find_card("kcloud-1"))
    device = model(card, card.profiles[0])
    shape = (1, 2, 4) if op == "Conv" else (4, 4)
    weight = np.ones((3, 2, 1) if op == "Conv" else (4, 3), np.float32)
    specs = ((DType.FLOAT32, shape), (DType.FLOAT32, weight.shape))
    operation = Operation(op, specs, (), {ARITHMETIC: name})

    def last_pixel(value: float, sign: float = 1.0) -> np.ndarray:
        data = np.ones(shape, np.float32)
        data.reshape(-1)[-1] = value
        result = device.run(operation, [data, sign * weight])
        assert result is not None
        whole = np.asarray(result[0])
        untouched = whole[..., :-1] if op == "Conv" else whole[:-1]
        assert np.isfinite(untouched).all()
        return whole[..., -1] if op == "Conv" else whole[-1]

    assert np.isnan(last_pixel(np.nan)).all()
    for infinite in (np.inf, -np.inf):
        given = last_pixel(infinite)
        # fp8_e4m3 has no infinity: what is out of its range is NaN.
        assert np.isnan(given).all() if name == "fp8_e4m3" else (given == infinite).all()
    both = last_pixel(np.inf, sign=0.0)
    assert np.isnan(both).all()


def test_quantised_results_have_no_nan() -> None:
    card = load_card(find_card("kcloud-1"))
    device = model(card, card.profiles[0])
    ones = np.ones((2, 2), np.int8)
    zero = np.zeros((), np.int8)
    scales = [np.array(value, np.float32) for value in (np.nan, 1.0, 1.0)]
    inputs = [ones, scales[0], zero, ones, scales[1], zero, scales[2], zero]
    specs = tuple((DType(str(each.dtype)), each.shape) for each in inputs)
    result = device.run(Operation("QLinearMatMul", specs, ()), inputs)
    if result is not None:
        assert np.array_equal(result[0], np.zeros((2, 2), np.int8))
