from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.compensation import calibrate, factor
from host_daemon.devices.nvm.analog.converters import Converter, InputRange, Periphery, calibrated
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, Mapping, Pairs, Scaling
from host_daemon.devices.nvm.analog.laws import Polynomial
from host_daemon.devices.nvm.analog.presets import PCM, SONOS
from host_daemon.devices.validate import DEFAULT
from vaccel.errors import InvalidArgument

EXACT = replace(PCM, programming=Polynomial((0.0,)), drift=None, fluctuation=None)
IDEAL = Periphery()
YEAR = 365 * 86_400.0


def _array(
    weights: np.ndarray,
    preset: Preset = EXACT,
    edge: Periphery = IDEAL,
    mapping: Mapping | None = None,
    seed: int = 1,
) -> CrossbarArray:
    rng = np.random.default_rng(seed)
    return CrossbarArray.program(weights, preset, edge, mapping or Mapping(), rng)[0]


def _rms(values: np.ndarray) -> float:
    return float(np.mean(np.square(values, dtype=np.float64))) ** 0.5


def _drawn(rows: int, columns: int, vectors: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((rows, columns)).astype(np.float32)
    return weights, rng.standard_normal((vectors, rows)).astype(np.float32)


def test_converters_give_the_vectors_of_aihwkit() -> None:
    vectors = json.loads((DEFAULT / "analog" / "aihwkit_vectors.json").read_text())
    assert len(vectors) == 3
    adc = Converter.of(9, 20.0)
    edges = {
        "quant_only_7dac_9adc": Periphery(Converter.of(7), adc, bound_management=True),
        "ir_drop_only_1.0": Periphery(drop=1.0),
    }
    for vector in vectors:
        weights, x, expected = (np.array(vector[name]) for name in "WXY")
        array = _array(weights.T, edge=edges[vector["preset"]])
        y, _ = array.at(0.0, None).mvm(x, np.random.default_rng(0))
        assert np.abs(y - expected).max() < 1e-6 * _rms(expected)


@pytest.mark.parametrize("scaling", list(Scaling))
def test_a_perfect_array_multiplies(scaling: Scaling) -> None:
    weights, x = _drawn(40, 24, 600)
    array = _array(weights, mapping=Mapping(scaling=scaling))
    y, counts = array.at(0.0, None).mvm(x, np.random.default_rng(0))
    assert y == pytest.approx(x @ weights, abs=2e-5)
    assert (counts.vectors, counts.passes, counts.clipped, counts.saturated) == (600, 600, 0, 0)


@pytest.mark.parametrize(("slices", "levels"), [(2, 15), (3, 7), (8, 1)])
def test_slices_add_up_to_a_fine_weight(slices: int, levels: int) -> None:
    weights, x = _drawn(32, 16)
    array = _array(weights, mapping=Mapping(slices=slices, levels=levels))
    assert array.cells.shape == (2, slices, 32, 16)
    digits = (array.cells.conductance / PCM.span * levels).round(4)
    assert set(np.unique(digits)) <= set(range(levels + 1))
    y, _ = array.at(0.0, None).mvm(x, np.random.default_rng(0))
    steps = (levels + 1) ** slices - 1
    scale = np.abs(weights).max()
    assert y == pytest.approx(x @ (np.rint(weights / scale * steps) / steps * scale), abs=1e-4)


def test_slices_spread_the_noise_of_programming() -> None:
    weights, x = _drawn(64, 64)
    noisy = replace(PCM, drift=None, fluctuation=None)
    errors = []
    for mapping in (Mapping(levels=15), Mapping(slices=2, levels=15)):
        y, _ = _array(weights, noisy, mapping=mapping).fresh().mvm(x, np.random.default_rng(0))
        errors.append(_rms(y - x @ weights))
    assert errors[1] < errors[0]


def test_weights_beyond_the_range_are_clipped_and_counted() -> None:
    weights = np.array([[0.5, -3.0], [2.0, 1.0]], np.float32)
    array = _array(weights, mapping=Mapping(limit=1.0))
    assert array.clipped == 2
    y, _ = array.at(0.0, None).mvm(np.eye(2, dtype=np.float32), np.random.default_rng(0))
    assert y == pytest.approx(np.array([[0.5, -1.0], [1.0, 1.0]]), abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(bad: float) -> None:
    weights = np.ones((4, 3), np.float32)
    weights[2, 1] = bad
    with pytest.raises(InvalidArgument, match=r"tensor 'fc\.w'\[2, 1\] = (nan|inf)"):
        rng = np.random.default_rng(0)
        CrossbarArray.program(weights, PCM, IDEAL, Mapping(), rng, name="fc.w")


def test_weights_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="shape"):
        _array(np.ones((2, 2, 2), np.float32))


def test_zero_weights_and_zero_inputs_give_zeros() -> None:
    edge = Periphery(Converter.of(7), Converter.of(9, 20.0), bound_management=True)
    array = _array(np.zeros((4, 3), np.float32), edge=edge)
    y, _ = array.at(0.0, None).mvm(np.zeros((2, 4)), np.random.default_rng(0))
    assert (y == 0).all()


@pytest.mark.parametrize("x", [np.ones((2, 5)), np.ones(4), np.full((2, 4), np.nan)])
def test_inputs_that_do_not_fit_are_refused(x: np.ndarray) -> None:
    with pytest.raises(InvalidArgument):
        _array(np.ones((4, 3))).at(0.0, None).mvm(x, np.random.default_rng(0))


@pytest.mark.parametrize(
    "edge", [IDEAL, Periphery(Converter.of(7)), Periphery(input_range=InputRange.FIXED)]
)
def test_an_input_that_is_no_number_is_refused_by_its_vector(edge: Periphery) -> None:
    x = np.zeros((300, 4))
    x[270, 2], x[290, 1] = -np.inf, np.nan
    snapshot = _array(np.ones((4, 3)), edge=edge).at(0.0, None)
    with pytest.raises(InvalidArgument, match="vector 270 "):
        snapshot.mvm(x, np.random.default_rng(0))


@pytest.mark.parametrize("layout", ["rows", "columns", "every second"])
def test_the_layout_of_inputs_in_memory_changes_nothing(layout: str) -> None:
    weights, x = _drawn(40, 24, 300)
    edge = Periphery(Converter.of(7), Converter.of(9, 20.0))
    snapshot = _array(weights, edge=edge).at(0.0, None)
    given = {"rows": x, "columns": np.asfortranarray(x), "every second": x.repeat(2, 1)[:, ::2]}
    y, _ = snapshot.mvm(given[layout], np.random.default_rng(0))
    assert (y == snapshot.mvm(x, np.random.default_rng(0))[0]).all()


@pytest.mark.parametrize(
    "edge",
    [
        Periphery(Converter.of(12)),
        Periphery(adc=Converter(20.0, 0.0)),
        Periphery(input_range=InputRange.FIXED),
        Periphery(out_noise=0.01),
        Periphery(weight_noise=0.01),
        Periphery(drop=1.0),
    ],
)
def test_each_part_of_an_edge_acts_where_it_is_set(edge: Periphery) -> None:
    """A product that could leave the edge out gives other numbers where it could not."""
    weights, x = _drawn(64, 24)
    x *= 4
    y, counts = _array(weights, edge=edge).at(0.0, None).mvm(x, np.random.default_rng(0))
    assert not edge.passes_all and IDEAL.passes_all
    if edge.adc is None:
        assert _rms(y - x @ weights) > 1e-5 * _rms(y)
    else:
        assert counts.saturated == 0 and y == pytest.approx(x @ weights, abs=1e-3)


def test_inputs_beyond_a_fixed_range_are_clipped_and_counted() -> None:
    edge = Periphery(input_range=InputRange.FIXED, fixed_range=2.0)
    array = _array(np.eye(3, dtype=np.float32), edge=edge)
    y, counts = array.at(0.0, None).mvm(np.array([[1.0, -5.0, 3.0]]), np.random.default_rng(0))
    assert y[0] == pytest.approx([1.0, -2.0, 2.0])
    assert counts.clipped == 2


def test_a_saturating_adc_is_counted_and_bound_management_mends_it() -> None:
    weights, x = np.ones((100, 2), np.float32), np.ones((3, 100), np.float32)
    edge = Periphery(adc=Converter.of(9, 20.0))
    y, counts = _array(weights, edge=edge).at(0.0, None).mvm(x, np.random.default_rng(0))
    assert (y == pytest.approx(20.0)) and counts.saturated == 6
    managed = replace(edge, bound_management=True)
    y, counts = _array(weights, edge=managed).at(0.0, None).mvm(x, np.random.default_rng(0))
    assert y == pytest.approx(100.0, rel=0.02)
    assert (counts.saturated, counts.passes) == (0, 3 * 4)  # at 1, 1/2, 1/4 and 1/8


def test_bound_management_gives_up_and_says_so() -> None:
    weights, x = np.ones((400, 1), np.float32), np.ones((1, 400), np.float32)
    edge = Periphery(adc=Converter.of(9, 20.0), bound_management=True, most_halvings=2)
    y, counts = _array(weights, edge=edge).at(0.0, None).mvm(x, np.random.default_rng(0))
    assert y[0, 0] == pytest.approx(80.0) and (counts.saturated, counts.passes) == (1, 3)


def test_a_calibrated_range_holds_what_it_was_made_from() -> None:
    samples = np.linspace(-2, 2, 10_001)
    assert calibrated(samples) == pytest.approx(2.0, rel=1e-3)
    assert calibrated(samples, 50.0) == pytest.approx(1.0, rel=1e-3)
    for bad in (np.zeros(3), np.empty(0), np.array([np.inf])):
        with pytest.raises(InvalidArgument):
            calibrated(bad)


@pytest.mark.parametrize(("bits", "bound"), [(1, 1.0), (25, 1.0), (8, 0.0), (8, float("nan"))])
def test_converters_out_of_range_are_refused(bits: int, bound: float) -> None:
    with pytest.raises(InvalidArgument, match="converter"):
        Converter.of(bits, bound)


@pytest.mark.parametrize(
    "given",
    [
        {"slices": 0},
        {"slices": 2},
        {"slices": 17},
        {"slices": 5, "levels": 127},
        {"levels": -1},
        {"limit": 0.0},
    ],
)
def test_mappings_out_of_range_are_refused(given: dict) -> None:
    with pytest.raises(InvalidArgument):
        Mapping(**given)


def test_only_changed_weights_are_rewritten() -> None:
    weights, _ = _drawn(16, 16)
    rng = np.random.default_rng(0)
    mapping = Mapping(limit=5.0)
    first, _ = CrossbarArray.program(weights, PCM, IDEAL, mapping, rng)
    weights[4, 4] += 0.5
    second, report = CrossbarArray.program(
        weights, PCM, IDEAL, mapping, rng, 10.0, cells=first.cells, only_changed=True
    )
    assert report.cells == 1
    same = second.cells.conductance == first.cells.conductance
    assert np.count_nonzero(~same) == 1


def test_equal_seeds_give_equal_results_and_others_do_not() -> None:
    weights, x = _drawn(32, 32)
    edge = Periphery(Converter.of(8), Converter.of(8, 20.0), out_noise=0.1, weight_noise=0.02)

    def result(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        array, _ = CrossbarArray.program(weights, PCM, edge, Mapping(), rng)
        return array.at(100.0, rng).mvm(x, rng)[0]

    assert (result(1) == result(1)).all()
    assert not (result(1) == result(2)).all()


def test_output_noise_has_the_size_that_is_set() -> None:
    weights, x = _drawn(64, 64, 200)
    array = _array(weights, edge=Periphery(out_noise=0.1))
    y, _ = array.at(0.0, None).mvm(x, np.random.default_rng(0))
    noise = (y - x @ weights) / np.abs(x).max(axis=1, keepdims=True) / np.abs(weights).max()
    assert noise.std() == pytest.approx(0.1, rel=0.02)


def test_weight_noise_is_that_of_each_weight() -> None:
    """Referred to the output it is what independent noise of every weight would give."""
    weights, _ = _drawn(64, 8)
    x = np.tile(_drawn(64, 8, 1)[1], (20_000, 1))
    edge = Periphery(Converter.of(12), Converter.of(16, 200.0), weight_noise=0.02)
    y, _ = _array(weights, edge=edge).at(0.0, None).mvm(x, np.random.default_rng(0))
    expected = 0.02 * np.sqrt((x[0] ** 2) @ np.abs(weights) * np.abs(weights).max())
    assert y.std(axis=0) == pytest.approx(expected, rel=0.03)


def test_white_noise_is_new_in_each_product() -> None:
    """As large as if each cell were drawn anew for each vector, which is slow."""
    weights, _ = _drawn(64, 8)
    x = np.tile(_drawn(64, 8, 1)[1], (2000, 1))
    array, rng = _array(weights, replace(SONOS, drift=None)), np.random.default_rng(0)
    snapshot = array.at(0.0, rng)
    y, _ = snapshot.mvm(x, rng)
    drawn = [array.at(0.0, rng, frozen=True).mvm(x[:1], rng)[0] for _ in range(500)]
    assert y.std(axis=0) == pytest.approx(np.concatenate(drawn).std(axis=0), rel=0.15)
    frozen, _ = array.at(0.0, rng, frozen=True).mvm(x, rng)
    quiet, _ = array.at(0.0, None).mvm(x, rng)
    for same in (frozen, quiet):  # but for rounding: the sums of a product depend on its place
        assert np.ptp(same, axis=0).max() < 1e-5 * _rms(same) < 1e-3 * y.std(axis=0).min()


@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e37, 3e38])
def test_inputs_of_extreme_size_give_numbers(size: float) -> None:
    edge = Periphery(Converter.of(7), Converter.of(9, 20.0), bound_management=True)
    array = _array(np.ones((100, 1), np.float32) * 1e-3, edge=edge)
    y, counts = array.at(0.0, None).mvm(np.full((2, 100), size), np.random.default_rng(0))
    assert np.isfinite(y).all()
    if counts.saturated:  # twice this input is no float32
        assert size == 3e38
    else:
        assert y[0, 0] == pytest.approx(0.1 * size, rel=0.1, abs=1e-37)


@pytest.mark.parametrize(
    "given", [{"out_noise": -1.0}, {"wire_ohms": float("nan")}, {"fixed_range": 0.0}]
)
def test_edges_out_of_range_are_refused(given: dict) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(given))):
        Periphery(**given)


def test_compensation_undoes_the_mean_drift() -> None:
    weights, x = _drawn(64, 64)
    still = replace(PCM, fluctuation=None)
    array, rng = _array(weights, still), np.random.default_rng(0)
    baseline = calibrate(array.fresh(), rng)
    aged = array.at(YEAR, rng)
    y, _ = aged.mvm(x, rng)
    exact = x @ weights
    assert _rms(y - exact) > 0.45 * _rms(exact)
    gain = factor(baseline, calibrate(aged, rng))
    assert 1.7 < gain < 2.2
    assert _rms(gain * y - exact) < 0.25 * _rms(exact)
    assert baseline.counts.vectors == 64


def test_drift_of_pairs_and_of_cells_is_nearly_the_same() -> None:
    weights, x = _drawn(128, 128)
    gains = []
    for pairs in Pairs:
        array = _array(weights, PCM, mapping=Mapping(pairs=pairs))
        y, _ = array.at(YEAR, np.random.default_rng(0)).mvm(x, np.random.default_rng(0))
        gains.append(float(np.vdot(y, x @ weights) / np.vdot(x @ weights, x @ weights)))
    assert gains[0] == pytest.approx(gains[1], rel=0.02)


def test_wires_take_their_share_and_the_exact_solution_agrees() -> None:
    weights, x = _drawn(48, 40)
    exact = x @ weights
    losses = []
    for solved in (False, True):
        snapshot = _array(weights, edge=Periphery(wire_ohms=2.0, exact_wires=solved)).fresh()
        assert snapshot.wires_valid
        losses.append(snapshot.mvm(x, np.random.default_rng(0))[0] - exact)
    assert 0.001 < _rms(losses[1]) / _rms(exact) < 0.1
    assert _rms(losses[0] - losses[1]) < 0.1 * _rms(losses[1])
    far = _array(weights, edge=Periphery(wire_ohms=400.0)).fresh()
    assert not far.wires_valid
