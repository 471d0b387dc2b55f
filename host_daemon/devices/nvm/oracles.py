"""The public simulators that the analog arrays are validated against; of IBM's aihwkit 1.1.0 the
settings behind the names of its rows.

No number here is fitted to its results. They are its presets' defaults (pairs of cells taken as
one, see ``crossbar.Pairs.NET``); a matrix larger than a tile is cut as by its ``TileModuleArray``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.converters import Converter, InputRange, Periphery
from host_daemon.devices.nvm.analog.crossbar import Mapping as WeightMapping
from host_daemon.devices.nvm.analog.crossbar import Pairs, Scaling
from host_daemon.devices.nvm.analog.laws import Polynomial
from host_daemon.devices.nvm.analog.presets import PCM
from host_daemon.devices.nvm.analog.trials import (
    MOST_SEEDS,
    MOST_SIZE,
    Case,
    rate,
    rate_again,
    relative_error,
    repeats,
)
from host_daemon.devices.nvm.oracle_badcrossbar import badcrossbar, badcrossbar_rate
from host_daemon.devices.nvm.oracle_crosssim import crosssim, crosssim_rate
from host_daemon.devices.oracle import Oracle, bounded, number, standard_errors
from vaccel.errors import InvalidArgument

Row = Mapping[str, str]
_EXACT: Final = Polynomial((0.0,))
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
_KNOWN: Final = (
    "pcm_Ndac_Madc, quant_only_Ndac_Madc, prog_noise_only, read_noise_only, drift_only, each also"
    " with _gdc; out_noise_only_X, ir_drop_only_X; StandardHWATrainingPreset"
)
_SCALED: Final = re.compile(r"(out_noise|ir_drop)_only_([0-9.]{1,8})")


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
        size = number(match[2], f"preset {name}")
        if match[1] == "out_noise":
            return _IDEAL, replace(_OPEN, out_noise=size), _NET
        return _IDEAL, replace(_OPEN, drop=size), _NET
    if bare in cells:
        return cells[bare], Periphery(), _NET
    if name == "StandardHWATrainingPreset":
        return PCM, _STANDARD, replace(_NET, scaling=Scaling.COLUMN)
    raise InvalidArgument(f"preset {name!r} is unknown", hint=f"known: {_KNOWN}")


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
        repeats=repeats(inputs * outputs) if chance else 1,
        normal=drawn == "normal",
        compensated=standard or name.endswith("_gdc"),
        range_deviations=3.0 if standard else 0.0,
        most_inputs=_LARGEST_TILE,
        # The preset's own limits: 512 inputs, and any number of outputs.
        most_outputs=0 if standard else _LARGEST_TILE,
    )


def _aihwkit_of(row: Row) -> Case:
    sizes = (bounded(row, column, MOST_SIZE) for column in ("n_in", "n_out", "batch"))
    seeds = bounded(row, "seeds", MOST_SEEDS)
    name, drawn = row.get("preset", ""), row.get("weight_input_dist", "")
    inputs, outputs, batch = sizes
    return _aihwkit_case(name, drawn, inputs, outputs, batch, seeds)


def aihwkit(row: Row) -> float:
    """The mean relative error that aihwkit has of a preset, a size and an age."""
    age = number(row.get("t_inference_s", ""), "column t_inference_s")
    return relative_error(_aihwkit_of(row), age)


def aihwkit_rate(row: Row) -> float:
    """Our MAC/s of the same products."""
    return rate(_aihwkit_of(row))


def aihwkit_rate_again(row: Row, seconds: float) -> float:
    """The same, measured anew over so many seconds."""
    return rate_again(_aihwkit_of(row), seconds)


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
