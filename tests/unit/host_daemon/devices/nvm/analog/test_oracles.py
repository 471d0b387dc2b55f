"""Against the simulators: within 5 % of their mean, or three standard errors if that is more."""

from __future__ import annotations

import numpy as np
import pytest

from host_daemon.devices.nvm.oracles import (
    ORACLES,
    aihwkit,
    aihwkit_rate,
    badcrossbar,
    badcrossbar_rate,
    crosssim,
    crosssim_rate,
)
from host_daemon.devices.validate import DEFAULT, read
from vaccel.errors import InvalidArgument

AIHWKIT = read(DEFAULT / "analog" / "aihwkit.csv")
CROSSSIM = read(DEFAULT / "analog" / "crosssim.csv")
CROSSBARS = read(DEFAULT / "analog" / "badcrossbar.csv")


def _compared(rows, predict, deviation: str) -> tuple[float, float]:
    """Share of rows within three standard errors, mean relative error; asserts on each row."""
    near, errors = 0, []
    for row in rows:
        mean, seeds = float(row["rel_rms_err_mean"]), int(row["seeds"])
        allowed = max(1e-6, 3 * float(row[deviation]) / seeds**0.5)
        value = predict(row)
        assert abs(value - mean) <= max(allowed, 0.05 * mean), row
        near += abs(value - mean) <= allowed
        if mean > 1e-5:
            errors.append(abs(value - mean) / mean)
    return near / len(rows), float(np.mean(errors))


def test_near_aihwkit_for_every_preset() -> None:
    """Small arrays when fresh and after a year, a large one after that; validate does the rest."""
    rows = [
        row
        for row in AIHWKIT
        if (row["n_in"] == "64" and row["t_label"] in ("t0", "1year"))
        or (row["n_in"], row["weight_input_dist"], row["t_label"]) == ("512", "uniform", "1year")
    ]
    assert len({row["preset"] for row in rows}) == 11
    near, mean = _compared(rows, aihwkit, "rel_rms_err_std_over_seeds")
    assert near > 0.95 and mean < 0.005


def test_equal_to_aihwkit_where_nothing_is_drawn() -> None:
    rows = [row for row in AIHWKIT if row["preset"].startswith(("quant_only", "ir_drop"))]
    assert len(rows) == 18
    for row in rows:
        assert aihwkit(row) == pytest.approx(float(row["rel_rms_err_mean"]), rel=5e-3), row


def test_near_crosssim_for_every_configuration() -> None:
    assert len(CROSSSIM) == 42
    large = ("ideal", "wbits", "dac_adc", "adc_cal", "sonos:5")
    rows = [row for row in CROSSSIM if row["n_in"] == "64" or row["config"].startswith(large)]
    near, mean = _compared(rows, crosssim, "rel_rms_err_std")
    assert near == 1 and mean < 0.01


def test_predictions_do_not_depend_on_what_was_asked_before() -> None:
    rows = [row for row in AIHWKIT if row["preset"] == "pcm_7dac_9adc" and row["n_in"] == "64"][:3]
    forwards = [aihwkit(row) for row in rows]
    assert forwards == [aihwkit(row) for row in reversed(rows)][::-1]


def test_rates_are_measured() -> None:
    assert aihwkit_rate(AIHWKIT[0]) > 1e6
    assert crosssim_rate(CROSSSIM[0]) > 1e6
    assert badcrossbar_rate(CROSSBARS[2]) > 1e3


@pytest.mark.parametrize(
    ("predict", "row", "said"),
    [
        (aihwkit, AIHWKIT[0] | {"preset": "pcm"}, "preset 'pcm'"),
        (aihwkit, AIHWKIT[0] | {"preset": "quant_only_1dac_9adc"}, "converter of 1 bits"),
        (aihwkit, AIHWKIT[0] | {"n_in": "5000"}, "column n_in = 5000"),
        (aihwkit, AIHWKIT[0] | {"n_out": "x"}, "column n_out = 'x'"),
        (aihwkit, AIHWKIT[0] | {"t_inference_s": "-1"}, "column t_inference_s = '-1'"),
        (aihwkit, AIHWKIT[0] | {"weight_input_dist": "cauchy"}, "'cauchy'"),
        (crosssim, CROSSSIM[0] | {"config": "magic:3"}, "config 'magic'"),
        (crosssim, CROSSSIM[0] | {"config": "wbits:99"}, "2 to 16 bits"),
        (crosssim, CROSSSIM[0] | {"config": "dac_adc_max:8"}, "bits of DAC and ADC"),
        (crosssim, CROSSSIM[0] | {"config": "sonos:x"}, "config sonos = 'x'"),
        (crosssim, CROSSSIM[0] | {"seeds": "65"}, "column seeds = 65"),
        (badcrossbar, CROSSBARS[0] | {"g_dist": "odd"}, "column g_dist = 'odd'"),
        (badcrossbar, CROSSBARS[0] | {"rows": "513"}, "column rows = 513"),
        (badcrossbar, CROSSBARS[0] | {"R_on_ohm": ""}, "column R_on_ohm = ''"),
        (badcrossbar, CROSSBARS[0] | {"R_on_ohm": "0"}, "column R_on_ohm = 0"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(predict, row, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        predict(row)


def test_no_result_is_an_input() -> None:
    assert all(oracle.result not in oracle.inputs for oracle in ORACLES)
