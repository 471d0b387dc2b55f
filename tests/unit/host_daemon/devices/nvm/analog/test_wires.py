from __future__ import annotations

import json

import numpy as np
import pytest

from host_daemon.devices.nvm.analog.nodal import NodalSolver
from host_daemon.devices.nvm.analog.wires import VALID_LOAD, effective, loads
from host_daemon.devices.nvm.oracles import badcrossbar
from host_daemon.devices.validate import DEFAULT, read
from vaccel.errors import InvalidArgument

ON, OFF = 1 / 4e4, 1 / 4e6


def test_currents_are_those_of_badcrossbar() -> None:
    """Its inputs are printed with nine digits, so that they are drawn again as it drew them."""
    vectors = json.loads((DEFAULT / "analog" / "badcrossbar_vectors.json").read_text())
    assert len(vectors) == 10
    for vector in vectors:
        shape = vector["rows"], vector["cols"]
        rng = np.random.default_rng(100)
        cells, volts = rng.uniform(OFF, ON, shape), rng.uniform(0, 0.2, (1, shape[0]))
        assert cells == pytest.approx(np.array(vector["G_S"]), rel=5e-9)
        assert volts[0] == pytest.approx(vector["V"], rel=5e-9)
        expected = np.array(vector["I_out_A"])
        currents = NodalSolver(cells, vector["r_i_ohm"]).currents(volts)[0]
        assert np.abs(currents - expected).max() < 1e-9 * np.abs(expected).max()


def test_errors_are_those_of_badcrossbar() -> None:
    rows = read(DEFAULT / "analog" / "badcrossbar.csv")
    assert len(rows) == 26
    for row in rows:
        expected = float(row["rel_rms_err_mean"])
        assert badcrossbar(row) == pytest.approx(expected, rel=1e-5, abs=1e-9), row


def _arrays(size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    one = (size, size)
    return {
        "all on": np.full(one, ON),
        "uniform": rng.uniform(OFF, ON, one),
        "half": np.where(rng.random(one) < 0.5, ON, OFF),
        "few columns": np.where(np.arange(size) % 8 == 0, ON, OFF) * np.ones(one),
        "few rows": np.where(np.arange(size) % 8 == 0, ON, OFF)[:, None] * np.ones(one),
    }


@pytest.mark.parametrize(("size", "ohms"), [(8, 5.0), (32, 5.0), (64, 1.0), (128, 1.0)])
def test_the_closed_form_is_near_the_exact_solution(size: int, ohms: float) -> None:
    """Within 10 % of the error that it models, for arrays of any kind."""
    rng = np.random.default_rng(8)
    volts = np.concatenate(
        [rng.uniform(0, 0.2, (4, size)), 0.2 * (rng.random((4, size)) < 0.5)]
    )
    for name, cells in _arrays(size).items():
        right = volts @ cells
        exact = NodalSolver(cells, ohms).currents(volts) - right
        approximate, load = effective(cells, ohms)
        assert load <= VALID_LOAD
        form = volts @ approximate - right
        sizes = [float(np.mean(each**2)) ** 0.5 for each in (exact, form, exact - form)]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.02), name
        assert sizes[2] < 0.1 * sizes[0], name


def test_the_closed_form_says_when_it_is_out_of_range() -> None:
    cells = np.full((128, 128), ON)
    assert effective(cells, 1.0)[1] < effective(cells, 5.0)[1] < VALID_LOAD
    assert effective(cells, 10.0)[1] > VALID_LOAD


def test_loads_are_sums_over_shared_segments() -> None:
    rng = np.random.default_rng(9)
    cells = rng.uniform(0, 1, (5, 3))
    rows, columns = cells.shape
    for i in range(rows):
        for j in range(columns):
            row = sum(cells[i, m] * (min(j, m) + 1) for m in range(columns))
            column = sum(cells[k, j] * min(rows - i, rows - k) for k in range(rows))
            assert loads(cells, 2.0)[i, j] == pytest.approx(2 * (row + column))


def test_effective_conductances_give_the_exact_currents() -> None:
    rng = np.random.default_rng(10)
    cells, volts = rng.uniform(OFF, ON, (24, 17)), rng.uniform(-0.2, 0.2, (3, 24))
    solver = NodalSolver(cells, 2.0)
    assert volts @ solver.effective() == pytest.approx(solver.currents(volts), rel=1e-10)
    assert (NodalSolver(cells, 0.0).effective() == cells).all()


def test_one_cell_is_a_voltage_divider() -> None:
    current = NodalSolver(np.array([[0.5]]), 3.0).currents(np.array([[1.0]]))
    assert current[0, 0] == pytest.approx(1 / (2 + 3 + 3))


@pytest.mark.parametrize(
    ("cells", "ohms", "said"),
    [
        (np.array([[np.nan]]), 1.0, "conductances"),
        (np.array([[-1.0]]), 1.0, "conductances"),
        (np.ones(3), 1.0, "conductances"),
        (np.ones((2, 2)), -1.0, r"wire resistance -1\.0 ohm"),
        (np.ones((2, 2)), float("nan"), "wire resistance nan ohm"),
    ],
)
def test_bad_circuits_are_refused(cells: np.ndarray, ohms: float, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        NodalSolver(cells, ohms)


def test_voltages_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="there are 2 rows"):
        NodalSolver(np.ones((2, 2)), 1.0).currents(np.ones((1, 3)))
