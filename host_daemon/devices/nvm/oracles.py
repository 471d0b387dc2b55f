"""The public simulators that the analog arrays are validated against.

IBM's aihwkit 1.1.0, Sandia's CrossSim 3.2.0 and badcrossbar 1.1.0. No number here is fitted to
their results: what follows are the settings behind the names of their rows. For aihwkit these are
its presets' defaults (pairs of cells taken as one, see ``crossbar.Pairs.NET``); for CrossSim
balanced cores whose lowest conductance is a hundredth of the highest (RRAM and SONOS: that of
their presets); for badcrossbar the random
conductances and voltages are drawn as it was given them (seeds from 100 on).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.converters import Converter, InputRange, Periphery
from host_daemon.devices.nvm.analog.crossbar import Mapping as WeightMapping
from host_daemon.devices.nvm.analog.crossbar import Pairs, Scaling
from host_daemon.devices.nvm.analog.laws import DAY, Polynomial, White
from host_daemon.devices.nvm.analog.nodal import NodalSolver
from host_daemon.devices.nvm.analog.presets import PCM, RRAM, SONOS
from host_daemon.devices.nvm.analog.reals import Reals
from host_daemon.devices.nvm.analog.trials import Case, rate, relative_error
from host_daemon.devices.oracle import Oracle, integer, standard_errors
from vaccel.errors import InvalidArgument

Row = Mapping[str, str]
_EXACT: Final = Polynomial((0.0,))
_MOST_SIZE: Final = 4096
_MOST_SEEDS: Final = 64
# aihwkit cuts a matrix into tiles of at most so many inputs and outputs.
_LARGEST_TILE: Final = 512
_IDEAL: Final = replace(PCM, programming=_EXACT, drift=None, fluctuation=None)
_NET: Final = WeightMapping(pairs=Pairs.NET)
_OPEN: Final = Periphery(adc=Converter(20.0, 0.0), bound_management=True, most_halvings=9)
_STANDARD: Final = Periphery(
    dac=Converter(1.0, 2 / 254),
    adc=Converter(10.0, 20 / 254),
    input_range=InputRange.FIXED,
    out_noise=0.04,
    weight_noise=0.0175,
    drop=1.0,
)
_QUANTISED: Final = re.compile(r"(pcm|quant_only)_([0-9]{1,2})dac_([0-9]{1,2})adc(_gdc)?")
_SCALED: Final = re.compile(r"(out_noise|ir_drop)_only_([0-9.]{1,8})")


def _bounded(row: Row, column: str, most: int) -> int:
    value = integer(row, column)
    if value > most:
        raise InvalidArgument(f"column {column} = {value} is more than {most}")
    return value


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1e12:
        raise InvalidArgument(f"{what} = {text!r} is not a number from 0 to 1e12")
    return value


def _repeats(cells: int) -> int:
    """How often a seed is tried: a large array is an average of much by itself."""
    return 12 if cells <= 8192 else 4 if cells <= _LARGEST_TILE**2 else 2


def _edge(inputs: int, outputs: int, noise: float) -> Periphery:
    """The converters of aihwkit: a range of 20 full inputs, and halved inputs where it is left."""
    adc = Converter.of(outputs, 20.0)
    return Periphery(Converter.of(inputs), adc, bound_management=True, out_noise=noise)


def _aihwkit_parts(name: str) -> tuple[Preset, Periphery, WeightMapping]:
    """What a preset's name stands for. Raises InvalidArgument naming it."""
    cells = {
        "prog_noise_only": replace(PCM, drift=None, fluctuation=None),
        "read_noise_only": replace(PCM, programming=_EXACT, drift=None),
        "drift_only": replace(PCM, programming=_EXACT, fluctuation=None),
    }
    bare = name.removesuffix("_gdc")
    if match := _QUANTISED.fullmatch(name):
        pcm = match[1] == "pcm"
        edge = _edge(int(match[2]), int(match[3]), 0.1 if pcm else 0.0)
        return PCM if pcm else _IDEAL, edge, _NET
    if match := _SCALED.fullmatch(name):
        size = _number(match[2], f"preset {name}")
        if match[1] == "out_noise":
            return _IDEAL, replace(_OPEN, out_noise=size), _NET
        return _IDEAL, replace(_OPEN, drop=size), _NET
    if bare in cells:
        return cells[bare], Periphery(), _NET
    if name == "StandardHWATrainingPreset":
        return PCM, _STANDARD, replace(_NET, scaling=Scaling.COLUMN)
    raise InvalidArgument(f"preset {name!r} is unknown")


@lru_cache(maxsize=64)
def _aihwkit_case(
    name: str, drawn: str, inputs: int, outputs: int, batch: int, seeds: int
) -> Case:
    preset, edge, mapping = _aihwkit_parts(name)
    if drawn not in ("normal", "uniform"):
        raise InvalidArgument(f"column weight_input_dist = {drawn!r} is not normal or uniform")
    chance = preset is not _IDEAL or edge.out_noise > 0
    standard = name.startswith("Standard")
    return Case(
        preset=preset,
        periphery=edge,
        mapping=mapping,
        inputs=inputs,
        outputs=outputs,
        vectors=batch,
        seeds=seeds,
        repeats=_repeats(inputs * outputs) if chance else 1,
        normal=drawn == "normal",
        compensated=standard or name.endswith("_gdc"),
        range_deviations=3.0 if standard else 0.0,
        most_inputs=_LARGEST_TILE,
        # The preset's own limits: 512 inputs, and any number of outputs.
        most_outputs=0 if standard else _LARGEST_TILE,
    )


def _aihwkit_of(row: Row) -> Case:
    sizes = (_bounded(row, column, _MOST_SIZE) for column in ("n_in", "n_out", "batch"))
    seeds = _bounded(row, "seeds", _MOST_SEEDS)
    name, drawn = row.get("preset", ""), row.get("weight_input_dist", "")
    inputs, outputs, batch = sizes
    return _aihwkit_case(name, drawn, inputs, outputs, batch, seeds)


def aihwkit(row: Row) -> float:
    """The mean relative error that aihwkit has of a preset, a size and an age."""
    age = _number(row.get("t_inference_s", ""), "column t_inference_s")
    return relative_error(_aihwkit_of(row), age)


def aihwkit_rate(row: Row) -> float:
    """Our MAC/s of the same products."""
    return rate(_aihwkit_of(row))


def _hundredth(preset: Preset) -> Preset:
    return replace(preset, minimum=preset.maximum / 100)


# CrossSim's errors of a unit conductance: independent of it, or in proportion.
_UNIT: Final = _hundredth(replace(_IDEAL, maximum=1.0))
_JOSHI: Final = Polynomial((0.28638599, 0.07585724, -0.00178767))


def _crosssim_cells(name: str, size: str) -> tuple[Preset, float]:
    """The cells of a configuration, and their age in seconds. Raises InvalidArgument."""
    if name == "pcm_joshi":
        return _hundredth(replace(_IDEAL, programming=_JOSHI)), 0.0
    number = _number(size, f"config {name}")
    if name == "rram_milo" and number == 0:
        return RRAM, 0.0
    if name == "sonos":
        return replace(SONOS, fluctuation=None), number * DAY
    errors = {
        "prog_ind": (Polynomial((number,)), None),
        "prog_prop": (Polynomial((0.0, number)), None),
        "read_ind": (_EXACT, White(Polynomial((number,)))),
        "read_prop": (_EXACT, White(Polynomial((0.0, number)))),
    }
    if name not in errors:
        raise InvalidArgument(f"config {name!r} is unknown", hint=f"{', '.join(errors)}")
    programming, fluctuation = errors[name]
    return replace(_UNIT, programming=programming, fluctuation=fluctuation), 0.0


def _crosssim_edge(name: str, sizes: list[str], inputs: int) -> Periphery:
    bits = [integer({"bits": size}, "bits") for size in sizes]
    if len(bits) != 2:
        raise InvalidArgument(f"config {name!r} needs the bits of DAC and ADC")
    # The range is what all inputs and weights at their largest give, or four deviations of it.
    span = float(inputs) if name == "dac_adc_max" else 4 * inputs**0.5 / 3
    # The core's outputs are in units of the highest conductance, ours in units of the range.
    span /= _UNIT.span
    return Periphery(Converter.of(bits[0]), Converter.of(bits[1], span), InputRange.FIXED)


def _crosssim_parts(config: str, inputs: int) -> tuple[Preset, Periphery, WeightMapping, float]:
    name, *sizes = config.split(":")
    if name == "ideal":
        return _UNIT, Periphery(), WeightMapping(), 0.0
    if name == "wbits":
        bits = integer({"bits": sizes[0] if sizes else ""}, "bits")
        if not 2 <= bits <= 16:
            raise InvalidArgument(f"config {config!r}: weights have 2 to 16 bits")
        return _UNIT, Periphery(), WeightMapping(levels=2 ** (bits - 1) - 1), 0.0
    if name in ("dac_adc_max", "adc_cal"):
        return _UNIT, _crosssim_edge(name, sizes, inputs), WeightMapping(), 0.0
    if name == "parasitic":
        ohms = _number(sizes[0] if sizes else "", f"config {config}")
        cells = _hundredth(replace(_IDEAL, maximum=25.0))
        return cells, Periphery(wire_ohms=ohms, exact_wires=True), WeightMapping(), 0.0
    cells, age = _crosssim_cells(name, sizes[0] if sizes else "0")
    return cells, Periphery(), WeightMapping(), age


@lru_cache(maxsize=64)
def _crosssim_case(
    config: str, inputs: int, outputs: int, vectors: int, seeds: int
) -> tuple[Case, float]:
    preset, edge, mapping, age = _crosssim_parts(config, inputs)
    chance = preset.programming is not _EXACT
    case = Case(
        preset=preset,
        periphery=edge,
        mapping=mapping,
        inputs=inputs,
        outputs=outputs,
        vectors=vectors,
        seeds=seeds,
        repeats=_repeats(inputs * outputs) if chance else 1,
        by_column=True,
        fresh_reads=preset.fluctuation is not None,
    )
    return case, age


def _crosssim_of(row: Row) -> tuple[Case, float]:
    inputs, outputs, vectors = (
        _bounded(row, column, _MOST_SIZE) for column in ("n_in", "n_out", "vectors")
    )
    seeds = _bounded(row, "seeds", _MOST_SEEDS)
    return _crosssim_case(row.get("config", ""), inputs, outputs, vectors, seeds)


def crosssim(row: Row) -> float:
    """CrossSim's mean relative error of a configuration and a size."""
    return relative_error(*_crosssim_of(row))


def crosssim_rate(row: Row) -> float:
    """Our MAC/s of the same products."""
    return rate(_crosssim_of(row)[0])


def _siemens(row: Row, column: str) -> float:
    ohms = _number(row.get(column, ""), f"column {column}")
    if ohms == 0:
        raise InvalidArgument(f"column {column} = 0 is no resistance")
    return 1 / ohms


def _crossbar(row: Row, seed: int) -> tuple[Reals, Reals]:
    """Conductances in siemens and voltages of a seed."""
    rows, columns = _bounded(row, "rows", 512), _bounded(row, "cols", 512)
    low, high = (_siemens(row, f"R_{end}_ohm") for end in ("off", "on"))
    drawn = row.get("g_dist", "")
    if drawn == "all_on":
        volts = _number(row.get("V_read", ""), "column V_read")
        return np.full((rows, columns), high), np.full((1, rows), volts)
    if drawn != "uniform_g":
        raise InvalidArgument(f"column g_dist = {drawn!r} is not uniform_g or all_on")
    rng = np.random.default_rng(100 + seed)
    cells = rng.uniform(low, high, (rows, columns))
    return cells, rng.uniform(0, 0.2, (1, rows))


def badcrossbar(row: Row) -> float:
    """The mean relative error of currents that badcrossbar has, by the exact solution."""
    ohms = _number(row.get("r_wire_ohm", ""), "column r_wire_ohm")
    errors = []
    for seed in range(_bounded(row, "seeds", _MOST_SEEDS)):
        cells, volts = _crossbar(row, seed)
        right = volts @ cells
        lost = NodalSolver(cells, ohms).currents(volts) - right
        errors.append(float(np.mean(lost**2) / np.mean(right**2)) ** 0.5)
    return float(np.mean(errors))


def badcrossbar_rate(row: Row) -> float:
    """Our MAC/s of the same solutions, each with the factorisation that the reference makes too."""
    cells, volts = _crossbar(row, 0)
    ohms = _number(row.get("r_wire_ohm", ""), "column r_wire_ohm")
    calls, spent = 0, 0.0
    start = time.process_time()
    while spent < 0.01:
        NodalSolver(cells, ohms).currents(volts)
        calls += 1
        spent = time.process_time() - start
    return calls * cells.size / spent


_AIHWKIT_INPUTS: Final = (
    "preset",
    "weight_input_dist",
    "n_in",
    "n_out",
    "batch",
    "seeds",
    "t_label",
    "t_inference_s",
)
_BADCROSSBAR_INPUTS: Final = (
    "rows",
    "cols",
    "R_on_ohm",
    "R_off_ohm",
    "g_dist",
    "r_wire_ohm",
    "V_read",
    "seeds",
)
_RESULT: Final = "rel_rms_err_mean"
_RATES: Final = "host_MACs_per_s"
# Of float32 products, relative to their root mean square.
_ROUNDING: Final = 1e-6
ORACLES: Final = (
    Oracle(
        "analog/aihwkit.csv",
        _AIHWKIT_INPUTS,
        _RESULT,
        _RESULT,
        aihwkit,
        passes=1,
        rounding=_ROUNDING,
        rates=_RATES,
        rate=aihwkit_rate,
        allowed=standard_errors("rel_rms_err_std_over_seeds"),
    ),
    Oracle(
        "analog/crosssim.csv",
        ("config", "n_in", "n_out", "dist", "vectors", "seeds"),
        _RESULT,
        _RESULT,
        crosssim,
        passes=1,
        rounding=_ROUNDING,
        rates=_RATES,
        rate=crosssim_rate,
        allowed=standard_errors("rel_rms_err_std"),
    ),
    Oracle(
        "analog/badcrossbar.csv",
        _BADCROSSBAR_INPUTS,
        _RESULT,
        _RESULT,
        badcrossbar,
        passes=1,
        rounding=_ROUNDING,
        rates=_RATES,
        rate=badcrossbar_rate,
        allowed=standard_errors("rel_rms_err_std"),
    ),
)
