"""Trials of matrices larger than a tile: pieces of their own, added in digital."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from host_daemon.devices.nvm.analog import trials
from host_daemon.devices.nvm.analog.compensation import calibrate, factor
from host_daemon.devices.nvm.analog.converters import Converter, Periphery
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, Mapping, Pairs
from host_daemon.devices.nvm.analog.presets import PCM
from host_daemon.devices.nvm.analog.trials import Case, parts, relative_error
from host_daemon.devices.nvm.oracles import aihwkit, aihwkit_rate

EDGE = Periphery(Converter.of(7), Converter.of(9, 20.0), bound_management=True, out_noise=0.1)
CASE = Case(
    preset=PCM,
    periphery=EDGE,
    mapping=Mapping(pairs=Pairs.NET),
    inputs=70,
    outputs=50,
    vectors=16,
    seeds=2,
    repeats=2,
    compensated=True,
)


@pytest.mark.parametrize(
    ("size", "most", "sizes"),
    [
        (512, 512, [512]),
        (513, 512, [257, 256]),
        (1000, 512, [500, 500]),
        (1025, 512, [342, 342, 341]),
        (4096, 0, [4096]),
    ],
)
def test_a_side_is_cut_into_few_equal_parts(size: int, most: int, sizes: list[int]) -> None:
    found = parts(size, most)
    assert [each.stop - each.start for each in found] == sizes
    assert [each.start for each in found] == [0, *np.cumsum(sizes)[:-1]]


def by_hand(case: Case, age: float, columns: int) -> float:
    """The same with two halves of 70 inputs, each in pieces of so many columns."""
    errors = []
    for seed in range(case.seeds):
        draw = np.random.default_rng(1000 + seed)
        weights = draw.uniform(-1, 1, (50, 70)).T.astype(np.float32)
        x = draw.uniform(-1, 1, (16, 70)).astype(np.float32)
        for repeat in range(case.repeats):
            write = np.random.default_rng([1, seed, repeat])
            read = np.random.default_rng([2, seed, repeat, int(age)])
            total = np.zeros((16, 50), np.float32)
            for rows in (slice(0, 35), slice(35, 70)):
                for first in range(0, 50, columns):
                    part = np.s_[first : first + columns]
                    piece = np.ascontiguousarray(weights[rows, part])
                    array, _ = CrossbarArray.program(
                        piece, case.preset, case.periphery, case.mapping, write
                    )
                    fresh = calibrate(array.fresh(), write)
                    seen = array.at(age, read)
                    y, _ = seen.mvm(x[:, rows], read)
                    total[:, part] += y * np.float32(factor(fresh, calibrate(seen, read)))
            exact = x @ weights
            lost = np.mean(np.square(total - exact), dtype=np.float64)
            errors.append(float(lost / np.mean(np.square(exact), dtype=np.float64)) ** 0.5)
    return float(np.mean(errors))


@pytest.mark.parametrize(("most_outputs", "columns"), [(0, 50), (25, 25)])
def test_a_split_trial_is_the_sum_of_its_pieces(most_outputs: int, columns: int) -> None:
    case = replace(CASE, most_inputs=40, most_outputs=most_outputs)
    assert relative_error(case, 3600.0) == by_hand(case, 3600.0, columns)


def test_a_limit_that_is_not_met_changes_no_bit() -> None:
    whole = relative_error(CASE, 60.0)
    assert relative_error(replace(CASE, most_inputs=70, most_outputs=50), 60.0) == whole
    assert relative_error(replace(CASE, most_inputs=69), 60.0) != whole


def test_what_is_not_kept_between_ages_gives_the_same(monkeypatch) -> None:
    case = replace(CASE, most_inputs=40)
    kept = [relative_error(case, age) for age in (0.0, 60.0)]
    monkeypatch.setattr(trials, "_MOST_KEPT", 0)
    assert [relative_error(case, age) for age in (0.0, 60.0)] == kept


@pytest.mark.parametrize(
    ("preset", "inputs", "outputs", "measured"),
    [
        ("quant_only_7dac_9adc", 1024, 64, 0.0200836446),
        ("ir_drop_only_1.0", 1024, 64, 0.0079128230),
        ("quant_only_7dac_9adc", 64, 1024, 0.0333423276),
    ],
)
def test_large_matrices_are_what_aihwkit_makes_of_them(
    preset: str, inputs: int, outputs: int, measured: float
) -> None:
    """Measured with aihwkit 1.1.0's AnalogLinear, which makes two tiles of each."""
    row = {"preset": preset, "weight_input_dist": "normal", "n_in": str(inputs)}
    row |= {"n_out": str(outputs), "batch": "256", "seeds": "2", "t_inference_s": "0"}
    assert aihwkit(row) == pytest.approx(measured, rel=1e-5)
    assert aihwkit_rate(row) > 1e6


def test_a_large_matrix_is_never_all_in_memory() -> None:
    case = replace(
        CASE,
        inputs=2048,
        outputs=2048,
        vectors=64,
        repeats=1,
        compensated=False,
        most_inputs=512,
        most_outputs=512,
    )
    tracemalloc.start()
    try:
        assert 0.05 < relative_error(case, 0.0) < 0.5
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
