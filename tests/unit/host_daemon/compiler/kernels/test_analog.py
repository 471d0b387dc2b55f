"""Products on tiles: within a bound from what the card's file says of cells, converters, age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target
from host_daemon.core.device import Card
from host_daemon.core.lasting import Life
from host_daemon.devices.nvm.analog.converters import Converter
from host_daemon.devices.nvm.analog.laws import Polynomial
from host_daemon.devices.nvm.device import NvmDevice
from host_daemon.devices.registry import find_card, load_card
from tests.unit.host_daemon.compiler.kernels import analog, cases
from tests.unit.host_daemon.compiler.kernels.analog import Prediction
from tests.unit.host_daemon.compiler.kernels.drawn import WINDOWS, image, windows
from vaccel.kernels import KERNELS

TILES = ("kcloud-3", "hermes", "mythic-m1076")
SEEDS = st.integers(0, 2**32 - 1)
# Seconds since cells were written, most of which have lost a quarter or more after a day; and
# whether they were calibrated again then.
DAY = 86_400.0
WHEN = ((0.0, False), (3600.0, True), (DAY, False), (DAY, True))


def made(card: Card, seed: int, scratch: Path) -> Target:
    """A VF whose tiles nobody has used, with chance of its own."""
    device = NvmDevice(card, card.profiles[0])
    memory = memoryview(bytearray(device.profile.cores * card.cell_bytes))
    device.begin(Life(seed.to_bytes(32, "little"), memory, 0.0))
    return Target(device, 1, scratch)


def unrolled(name: str, arrays: dict[str, np.ndarray], chosen: dict[str, Any]):
    """A product as vectors by a matrix, and how results of those lie in its own."""
    left, right, *_ = (array.astype(np.float64) for array in arrays.values())
    if name not in WINDOWS:
        matrix = right.T if name == "linear" else right.reshape(right.shape[-2:])
        shape = (*left.shape[:-1], matrix.shape[1])
        return matrix, left.reshape(-1, left.shape[-1]), lambda given: given.reshape(shape)
    group, filters, deep = chosen["group"], len(right), right[0].size
    wide = filters // group
    matrix = np.zeros((group * deep, filters))
    for number, each in enumerate(right.reshape(filters, deep)):
        first = number // wide * deep
        matrix[first : first + deep, number] = each
    seen = windows(left, right.shape[2:], chosen)  # [n, out…, channels, taps…]
    space = seen.shape[: left.ndim - 1]
    vectors = seen.reshape(int(np.prod(space)), -1)
    return matrix, vectors, lambda given: np.moveaxis(given.reshape(*space, filters), -1, 1)


def drawn(name: str, draw: st.DrawFn, rng: np.random.Generator) -> tuple[dict, dict]:
    """Operands, and settings. Calibration of a handful of weights says nothing: there are more."""
    size = st.integers(4, 12)
    if name in WINDOWS:
        data, weight, chosen = image(draw, name)
        grown = (weight[0] * 4, *weight[1:])
        arrays = {"x": cases.numbers(rng, data, "float32")}
        arrays["weight"] = cases.numbers(rng, grown, "float32")
        return arrays, chosen
    depth = draw(st.sampled_from([8, 40, 300]))
    one = {"i": 1} if name == "batched_matmul" else {}
    shapes = cases.dims(draw, KERNELS[name], k=depth, m=draw(size), n=draw(size), **one)
    names = list(shapes)[:2]
    if name == "matmul":
        shapes["b"] = shapes["b"][-2:]
    return {each: cases.numbers(rng, shapes[each], "float32") for each in names}, {}


def multiplied(
    target: Target, name: str, arrays: dict, chosen: dict, age: float, again: bool
) -> tuple[np.ndarray, int]:
    """What tiles give at an age, calibrated again then or not; and how many cells they missed."""
    device = target.device
    assert isinstance(device, NvmDevice)
    own = {key: value for key, value in chosen.items() if KERNELS[name].attribute(key)}
    weights = list(arrays)[1]
    if name not in WINDOWS:
        own["arithmetic"] = "analog"
    with cases.kept(target, name, arrays, [weights], **own) as program:
        device.set_clock(age)
        if again:
            device.recalibrate()
        given_ = {each: array for each, array in arrays.items() if each != weights}
        outcome = program.run(given_, ["result"])
        missed = next(each.value for each in device.condition() if each.name == "cells missed")
    assert set(outcome.cost.nodes) == {"tiles"}
    return outcome.results["result"], int(missed)


def predicted(
    card: Card, name: str, arrays: dict, chosen: dict, age: float, again: bool
) -> tuple[Prediction, np.ndarray, np.ndarray]:
    """What is to be expected, the exact result, and what one missed cell may do, all as results."""
    matrix, vectors, laid = unrolled(name, arrays, chosen)
    found = analog.product(card.parameters, matrix, vectors, age, age if again else 0.0)
    # A cell's whole range, times a factor of less than 3.
    one = 3 * np.abs(matrix).max() * np.abs(vectors).max(axis=1, keepdims=True)
    one = laid(np.broadcast_to(one, found.mean.shape))
    return (
        Prediction(laid(found.mean), laid(found.deviation), laid(found.bound)),
        laid(vectors @ matrix),
        one,
    )


@pytest.mark.parametrize(("age", "again"), WHEN)
@pytest.mark.parametrize("name", ["matmul", "batched_matmul", "linear", *WINDOWS])
@pytest.mark.parametrize("card", TILES)
def test_a_product_on_tiles_is_within_the_bound_of_its_cells(
    card: str, name: str, age: float, again: bool, tmp_path: Path
) -> None:
    own = load_card(find_card(card))

    @cases.few(made(own, 0, tmp_path), 2)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        arrays, chosen = drawn(name, data.draw, np.random.default_rng(seed))
        target = made(own, seed, tmp_path)
        found, missed = multiplied(target, name, arrays, chosen, age, again)
        expected, exact, one = predicted(own, name, arrays, chosen, age, again)
        bound = np.abs(expected.mean - exact) + expected.bound + missed * one
        assert (np.abs(found - exact) <= bound).all()
        assert (np.abs(found - expected.mean) <= expected.bound + missed * one).all()

    check()


# What may differ between what chance gave and what was predicted: a few hundred weights.
NEAR = (0.9, 1.1)


def off(made_of: Card, said: Card, age: float, again: bool, scratch: Path) -> float:
    """Root mean square of what is off, in deviations that another card would have."""
    rng = np.random.default_rng(11)
    arrays = {n: cases.numbers(rng, s, "float32") for n, s in (("a", (99, 40)), ("b", (40, 64)))}
    target = made(made_of, 5, scratch)
    found, _ = multiplied(target, "matmul", arrays, {}, age, again)
    expected, _, _ = predicted(said, "matmul", arrays, {}, age, again)
    return float(np.sqrt(np.mean(np.square((found - expected.mean) / expected.deviation))))


@pytest.mark.parametrize(("age", "again"), WHEN)
@pytest.mark.parametrize("card", TILES)
def test_errors_of_chance_are_as_large_as_predicted(
    card: str, age: float, again: bool, tmp_path: Path
) -> None:
    """A bound of six deviations is met by much; that these are its deviations is not."""
    own = load_card(find_card(card))
    assert NEAR[0] < off(own, own, age, again, tmp_path) < NEAR[1]


def with_edge(card: Card, **changes: Any) -> Card:
    own = card.parameters
    return replace(card, parameters=replace(own, periphery=replace(own.periphery, **changes)))


def with_cells(card: Card, **changes: Any) -> Card:
    tile = card.parameters.tile
    tile = replace(tile, preset=replace(tile.preset, **changes))
    return replace(card, parameters=replace(card.parameters, tile=tile))


def coarser(card: Card) -> Card:
    law = card.parameters.tile.preset.programming
    return with_cells(card, programming=Polynomial(tuple(1.5 * each for each in law.coefficients)))


def noisier(card: Card) -> Card:
    law = card.parameters.tile.preset.fluctuation
    return with_cells(card, fluctuation=replace(law, amplitude=2 * law.amplitude))


def faster(card: Card) -> Card:
    law = card.parameters.tile.preset.drift
    return with_cells(card, drift=replace(law, mean=(*law.mean[:2], 0.07, 0.15)))


PLANTED: dict[str, tuple[Callable[[Card], Card], float]] = {
    "an ADC of four bits less": (lambda c: with_edge(c, adc=Converter.of(5, 10.0)), 0.0),
    "a DAC of four bits less": (lambda c: with_edge(c, dac=Converter.of(4)), 0.0),
    "noise of outputs": (lambda c: with_edge(c, out_noise=0.15), 0.0),
    "wires a hundred times as long": (lambda c: with_edge(c, wire_ohms=35.0), 0.0),
    "coarser programming": (coarser, 0.0),
    "noise of cells": (noisier, 0.0),
    "no noise of cells": (lambda c: with_cells(c, fluctuation=None), 0.0),
    "drift": (faster, DAY),
    "no drift": (lambda c: with_cells(c, drift=None), DAY),
}


@pytest.mark.parametrize("case", PLANTED)
def test_another_card_than_the_predicted_one_is_found_out(case: str, tmp_path: Path) -> None:
    change, age = PLANTED[case]
    card = load_card(find_card("kcloud-3"))
    assert not NEAR[0] < off(change(card), card, age, False, tmp_path) < NEAR[1]


@pytest.mark.parametrize("card", TILES)
def test_a_product_that_is_left_out_is_beyond_the_bound_of_cells(card: str, tmp_path: Path) -> None:
    own, rng = load_card(find_card(card)), np.random.default_rng(2)
    arrays = {n: cases.numbers(rng, s, "float32") for n, s in (("a", (9, 12)), ("b", (12, 16)))}
    found, _ = multiplied(made(own, 1, tmp_path), "matmul", arrays, {}, 0.0, again=False)
    expected, _, _ = predicted(own, "matmul", arrays, {}, 0.0, again=False)
    a, b = arrays.values()
    largest = np.abs(a).argmax(axis=1)
    left_out = found - a[np.arange(len(a)), largest][:, None] * b[largest]
    assert (np.abs(found - expected.mean) <= expected.bound).all()
    assert (np.abs(left_out - expected.mean) > expected.bound).mean() > 0.3
