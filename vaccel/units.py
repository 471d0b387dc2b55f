"""Quantities as people write them: a number, a blank, a unit. ``parse("1.5 GHz", FREQUENCY)`` is
1.5e9.

A quantity without its unit is refused, and so is a unit of another dimension, because a card file
that says ``clock = 1`` is wrong by nine orders of magnitude for one of its readers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from vaccel.errors import InvalidArgument

_QUANTITY: Final = re.compile(
    r"([+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?) +(\S+)"
)


@dataclass(frozen=True, slots=True)
class Dimension:
    """What is measured, and the units allowed for it, each with its factor to the base unit."""

    name: str
    base: str
    units: Mapping[str, Fraction]

    @property
    def allowed(self) -> str:
        """The units, for an error message."""
        return ", ".join(self.units)


def _si(base: str, prefixes: str) -> dict[str, Fraction]:
    exponents = {
        "f": -15,
        "p": -12,
        "n": -9,
        "u": -6,
        "m": -3,
        "": 0,
        "k": 3,
        "M": 6,
        "G": 9,
        "T": 12,
    }
    names = ["" if prefix == "_" else prefix for prefix in prefixes]
    return {prefix + base: Fraction(10) ** exponents[prefix] for prefix in names}


_BINARY: Final = {f"{p}iB": Fraction(1024) ** n for n, p in enumerate("KMGT", start=1)}
_BYTES: Final = {**_si("B", "_kMGT"), **_BINARY}

FREQUENCY: Final = Dimension("frequency", "Hz", _si("Hz", "_kMG"))
SIZE: Final = Dimension("size", "B", _BYTES)
BANDWIDTH: Final = Dimension(
    "bandwidth", "B/s", {f"{unit}/s": factor for unit, factor in _BYTES.items()}
)
TIME: Final = Dimension("time", "s", _si("s", "_munp"))
ENERGY: Final = Dimension("energy", "J", _si("J", "_munpf"))
ENERGY_PER_BYTE: Final = Dimension(
    "energy per byte",
    "J/B",
    {
        **{f"{unit}/B": factor for unit, factor in _si("J", "pnf").items()},
        **{f"{unit}/bit": factor * 8 for unit, factor in _si("J", "pnf").items()},
    },
)
POWER: Final = Dimension("power", "W", _si("W", "_mk"))
RESISTANCE: Final = Dimension("resistance", "ohm", _si("ohm", "_mk"))
BYTES_PER_CYCLE: Final = Dimension("bytes per cycle", "B/cycle", {"B/cycle": Fraction(1)})
MACS_PER_CYCLE: Final = Dimension("MACs per cycle", "MAC/cycle", {"MAC/cycle": Fraction(1)})
SHARE: Final = Dimension("share", "1", {"%": Fraction(1, 100)})
CYCLES: Final = Dimension("cycles", "cycles", {"cycles": Fraction(1)})
# Figures that a vendor publishes, kept to compare with: an operation is half a multiply-accumulate.
OPERATIONS: Final = Dimension(
    "operations per second",
    "OPS",
    {
        **_si("OPS", "GT"),
        **_si("FLOPS", "GT"),
        "POPS": Fraction(10) ** 15,
        "PFLOPS": Fraction(10) ** 15,
    },
)

# Such as 9.76 TOPS/W: operations per joule.
OPERATIONS_PER_WATT: Final = Dimension(
    "operations per second and watt", "OPS/W", _si("OPS/W", "GT")
)


def parse(text: object, dimension: Dimension, field: str) -> float:
    """The quantity in the dimension's base unit. ``field`` says in messages where the text stood.

    Raises InvalidArgument naming the field, its value and the units allowed.
    """
    hint = f"write a number, a blank and a unit of {dimension.name}: {dimension.allowed}"
    if not isinstance(text, str):
        raise InvalidArgument(f"{field} = {text!r} has no unit", hint=hint)
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{field} = {text!r} is not a number with a unit", hint=hint)
    factor = dimension.units.get(match[2])
    if factor is None:
        raise InvalidArgument(f"{field} = {text!r} has a wrong unit, {match[2]!r}", hint=hint)
    return float(Fraction(match[1]) * factor)
