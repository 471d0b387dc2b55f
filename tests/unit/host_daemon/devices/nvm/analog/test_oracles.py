"""Against the simulators: within 5 % of their mean, or three standard errors if that is more."""

from __future__ import annotations

import numpy as np
import pytest

from host_daemon.devices.nvm.analog.laws import DAY
from host_daemon.devices.nvm.analog.presets import SONOS
from host_daemon.devices.nvm.analog.sonos import ChargeLoss
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
        (aihwkit, AIHWKIT[0] | {"preset": "nm_only"}, "nm_only.*known: pcm_Ndac_Madc, quant_only"),
        (crosssim, CROSSSIM[0] | {"config": "magic:3"}, "config 'magic:3'.*known: ideal, wbits:"),
        (crosssim, CROSSSIM[0] | {"config": "wbits:99"}, "2 to 16 bits"),
        (crosssim, CROSSSIM[0] | {"config": "dac_adc_max:8"}, "is not dac_adc_max:DAC:ADC"),
        (crosssim, CROSSSIM[0] | {"config": "dac_adc_max:8:8:8"}, "is not dac_adc_max:DAC:ADC"),
        (crosssim, CROSSSIM[0] | {"config": "wbits:8.0"}, "bits = '8.0'"),
        (crosssim, CROSSSIM[0] | {"config": "prog_ind"}, "'prog_ind' is not prog_ind:SIGMA"),
        (crosssim, CROSSSIM[0] | {"config": "ideal:1"}, "'ideal:1' is not ideal"),
        (crosssim, CROSSSIM[0] | {"config": "sonos:x"}, "'sonos:x': days = 'x'"),
        (crosssim, CROSSSIM[0] | {"config": "rram_milo:1"}, "age = '1', but .* has no drift"),
        (crosssim, CROSSSIM[0] | {"config": "pcm_joshi:3600"}, "age = '3600', but .* no drift"),
        (crosssim, CROSSSIM[0] | {"dist": "sparse"}, "dist = 'sparse' is unknown .known: uniform"),
        (crosssim, CROSSSIM[0] | {"dist": ""}, "dist = ''"),
        (
            crosssim,
            CROSSSIM[0] | {"config": "adc_cal:8:8", "dist": "normal(0,1)"},
            "ranges are known of uniform",
        ),
        (crosssim, CROSSSIM[0] | {"seeds": "65"}, "column seeds = 65"),
        (badcrossbar, CROSSBARS[0] | {"g_dist": "odd"}, "column g_dist = 'odd'.*all_on, all_off"),
        (badcrossbar, CROSSBARS[0] | {"R_off_ohm": "1.0"}, "R_off_ohm = 1.0 is less than R_on"),
        (badcrossbar, CROSSBARS[0] | {"V_read": "U(0.2,0)"}, "ends below its beginning"),
        (badcrossbar, CROSSBARS[0] | {"V_read": "much"}, "column V_read = 'much'"),
        (badcrossbar, CROSSBARS[0] | {"V_read": "0"}, "no current flows"),
        (
            badcrossbar,
            CROSSBARS[0] | {"R_off_ohm": "inf", "g_dist": "all_off"},
            "no current flows",
        ),
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


@pytest.mark.parametrize("config", ["ideal", "wbits:8", "prog_ind:0.02", "pcm_joshi", "sonos:1"])
def test_crosssim_takes_normal_weights_and_inputs(config: str) -> None:
    row = CROSSSIM[0] | {"config": config}
    names = ("uniform", "normal", "normal(0, 1)")
    errors = {dist: crosssim(row | {"dist": dist}) for dist in names}
    assert errors["uniform"] == crosssim(row)
    assert errors["normal"] == errors["normal(0, 1)"] != errors["uniform"]
    if config != "ideal":  # the largest of normal weights is far from most, and is the scale
        assert 1.2 < errors["normal"] / errors["uniform"] < 3


def test_sonos_goes_on_as_crosssim_does_after_its_last_measurement() -> None:
    """Linearly in time: as if days 4 and 5 were drawn on; cards go on in its logarithm."""
    target, none = np.full(3, 8.0, np.float32), np.zeros(3, np.float32)
    linear, ours = ChargeLoss(linear=True), ChargeLoss()
    four, five, seven = (linear.at(target, target, none, day * DAY) for day in (4, 5, 7))
    assert seven == pytest.approx(five + 2 * (five - four), rel=1e-5)
    for day in (0.5, 4.0, 5.0):
        same = ours.at(target, target, none, day * DAY)
        assert np.array_equal(same, linear.at(target, target, none, day * DAY))
    years = [law.at(target, target, none, 3650 * DAY) for law in (ours, linear)]
    assert abs(years[0] - five).max() < 2 < abs(years[1] - five).max()
    row = CROSSSIM[0] | {"config": "sonos:30"}
    assert SONOS.drift == ours
    assert crosssim(row) > 1.5 * crosssim(row | {"config": "sonos:5"})


def test_badcrossbar_takes_what_physics_can_do() -> None:
    row = next(row for row in CROSSBARS if row["rows"] == "32" and row["r_wire_ohm"] == "1.0")
    on = row | {"g_dist": "all_on", "V_read": "0.2"}
    drawn = badcrossbar(on | {"V_read": "U(0,0.2)", "seeds": "3"})
    assert drawn == pytest.approx(badcrossbar(on), rel=0.1)
    # Of conductances that end at nothing, and of lower ones, wires take less.
    assert badcrossbar(on | {"R_off_ohm": "inf"}) == badcrossbar(on)
    assert badcrossbar(row | {"R_off_ohm": "inf"}) < badcrossbar(row)
    assert badcrossbar(on | {"g_dist": "all_off"}) < badcrossbar(on) / 50
