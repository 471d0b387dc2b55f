"""Sandia's CrossSim 3.2.0: the settings behind its rows.

No number here is fitted to its results. Its cores are balanced, and their lowest conductance is a
hundredth of the highest (RRAM and SONOS: that of their presets). Of its models of devices only
SONOS has an age (``simulator/devices/custom`` of its source): PCMJoshi says that it has no drift,
and RRAMMilo refuses one. After its last measurement SONOS goes on there linearly in time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.converters import Converter, InputRange, Periphery
from host_daemon.devices.nvm.analog.crossbar import Mapping as WeightMapping
from host_daemon.devices.nvm.analog.laws import DAY, Polynomial, White
from host_daemon.devices.nvm.analog.presets import PCM, RRAM, SONOS
from host_daemon.devices.nvm.analog.sonos import ChargeLoss
from host_daemon.devices.nvm.analog.trials import (
    MOST_SEEDS,
    MOST_SIZE,
    Case,
    rate,
    relative_error,
    repeats,
)
from host_daemon.devices.oracle import bounded, number
from vaccel.errors import InvalidArgument

Row = Mapping[str, str]
_EXACT: Final = Polynomial((0.0,))
_IDEAL: Final = replace(PCM, programming=_EXACT, drift=None, fluctuation=None)
_JOSHI: Final = Polynomial((0.28638599, 0.07585724, -0.00178767))
# What follows a configuration's name: one word each, those in brackets may be left out.
_CONFIGS: Final[Mapping[str, str]] = {
    "ideal": "",
    "wbits": "BITS",
    "dac_adc_max": "DAC:ADC",
    "adc_cal": "DAC:ADC",
    "prog_ind": "SIGMA",
    "prog_prop": "SIGMA",
    "read_ind": "SIGMA",
    "read_prop": "SIGMA",
    "pcm_joshi": "[0]",
    "rram_milo": "[0]",
    "sonos": "[DAYS]",
    "parasitic": "OHMS",
}
_KNOWN: Final = ", ".join(f"{name}:{given}" if given else name for name, given in _CONFIGS.items())
# Whether weights and inputs are normal, by what column dist says.
_DISTRIBUTIONS: Final[Mapping[str, bool]] = {
    "uniform(-1,1)": False,
    "uniform": False,
    "normal(0,1)": True,
    "normal": True,
}


def _hundredth(preset: Preset) -> Preset:
    return replace(preset, minimum=preset.maximum / 100)


# Errors of a unit conductance: independent of it, or in proportion.
_UNIT: Final = _hundredth(replace(_IDEAL, maximum=1.0))


def _normal(row: Row) -> bool:
    text = row.get("dist", "")
    found = _DISTRIBUTIONS.get(text.replace(" ", ""))
    if found is None:
        raise InvalidArgument(
            f"column dist = {text!r} is unknown", hint=f"known: {', '.join(_DISTRIBUTIONS)}"
        )
    return found


def _split(config: str) -> tuple[str, Sequence[str]]:
    """A configuration's name and what is given with it. Raises InvalidArgument."""
    name, *given = config.split(":")
    if name not in _CONFIGS:
        raise InvalidArgument(f"config {config!r} is unknown", hint=f"known: {_KNOWN}")
    wanted = _CONFIGS[name].split(":") if _CONFIGS[name] else []
    least = sum(not each.startswith("[") for each in wanted)
    if not least <= len(given) <= len(wanted):
        raise InvalidArgument(f"config {config!r} is not {name}:{_CONFIGS[name]}".rstrip(":"))
    return name, given


def _fresh(config: str, given: Sequence[str]) -> None:
    """Refuse an age of a model that has none."""
    if given and number(given[0], f"config {config!r}: age") != 0:
        raise InvalidArgument(
            f"config {config!r}: age = {given[0]!r}, but CrossSim's model has no drift",
            hint="only an age of 0 is known",
        )


def _cells(config: str, name: str, given: Sequence[str]) -> tuple[Preset, float]:
    """The cells of a configuration, and their age in seconds. Raises InvalidArgument."""
    if name in ("pcm_joshi", "rram_milo"):
        _fresh(config, given)
        return (RRAM if name == "rram_milo" else _hundredth(replace(_IDEAL, programming=_JOSHI))), 0
    if name == "sonos":
        age = number(given[0], f"config {config!r}: days") * DAY if given else 0.0
        return replace(SONOS, fluctuation=None, drift=ChargeLoss(linear=True)), age
    sigma = number(given[0], f"config {config!r}: sigma")
    spread = Polynomial((sigma,) if name.endswith("_ind") else (0.0, sigma))
    if name.startswith("prog"):
        return replace(_UNIT, programming=spread), 0.0
    return replace(_UNIT, fluctuation=White(spread)), 0.0


def _bits(config: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text, re.ASCII):
        raise InvalidArgument(f"config {config!r}: bits = {text!r} is not a whole number")
    return int(text)


def _edge(config: str, name: str, given: Sequence[str], inputs: int) -> Periphery:
    dac, adc = (_bits(config, text) for text in given)
    # The range is what all inputs and weights at their largest give, or four deviations of it.
    span = float(inputs) if name == "dac_adc_max" else 4 * inputs**0.5 / 3
    # The core's outputs are in units of the highest conductance, ours in units of the range.
    span /= _UNIT.span
    return Periphery(Converter.of(dac), Converter.of(adc, span), InputRange.FIXED)


def _parts(
    config: str, inputs: int, normal: bool
) -> tuple[Preset, Periphery, WeightMapping, float]:
    name, given = _split(config)
    if name == "ideal":
        return _UNIT, Periphery(), WeightMapping(), 0.0
    if name == "wbits":
        bits = _bits(config, given[0])
        if not 2 <= bits <= 16:
            raise InvalidArgument(f"config {config!r}: weights have 2 to 16 bits")
        return _UNIT, Periphery(), WeightMapping(levels=2 ** (bits - 1) - 1), 0.0
    if name in ("dac_adc_max", "adc_cal"):
        if normal:
            raise InvalidArgument(
                f"config {config!r} of normal inputs: its ranges are known of uniform(-1,1) only"
            )
        return _UNIT, _edge(config, name, given, inputs), WeightMapping(), 0.0
    if name == "parasitic":
        ohms = number(given[0], f"config {config!r}: ohms")
        cells = _hundredth(replace(_IDEAL, maximum=25.0))
        return cells, Periphery(wire_ohms=ohms, exact_wires=True), WeightMapping(), 0.0
    cells, age = _cells(config, name, given)
    return cells, Periphery(), WeightMapping(), age


@lru_cache(maxsize=64)
def _case(
    config: str, normal: bool, inputs: int, outputs: int, vectors: int, seeds: int
) -> tuple[Case, float]:
    preset, edge, mapping, age = _parts(config, inputs, normal)
    case = Case(
        preset=preset,
        periphery=edge,
        mapping=mapping,
        inputs=inputs,
        outputs=outputs,
        vectors=vectors,
        seeds=seeds,
        repeats=1 if preset.programming is _EXACT else repeats(inputs * outputs),
        normal=normal,
        by_column=True,
        fresh_reads=preset.fluctuation is not None,
    )
    return case, age


def _of(row: Row) -> tuple[Case, float]:
    inputs, outputs, vectors = (
        bounded(row, column, MOST_SIZE) for column in ("n_in", "n_out", "vectors")
    )
    seeds = bounded(row, "seeds", MOST_SEEDS)
    return _case(row.get("config", ""), _normal(row), inputs, outputs, vectors, seeds)


def crosssim(row: Row) -> float:
    """CrossSim's mean relative error of a configuration and a size."""
    return relative_error(*_of(row))


def crosssim_rate(row: Row) -> float:
    """Our MAC/s of the same products."""
    return rate(_of(row)[0])
