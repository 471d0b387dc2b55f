"""Sizes on the command line (``512M``, ``2GiB``) and in tables (``12 GiB``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Final

from vaccel.errors import InvalidArgument

_SIZE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([kKMGT])(i?B)?")
_POWERS: Final = {"K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str, option: str) -> int:
    """Bytes. A bare letter and ``iB`` count by 1024, as QEMU does; ``B`` alone by 1000.

    Raises InvalidArgument naming the option, its value and the form.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"{option} = {text!r} is not a size", hint="write a number and a unit: 512M, 2GiB"
        )
    base = 1000 if match[3] == "B" else 1024
    size = round(float(match[1]) * float(base) ** _POWERS[match[2].upper()])
    if size <= 0:
        raise InvalidArgument(f"{option} = {text!r} is not more than zero")
    return size


def size_text(size: int) -> str:
    """A size in the largest binary unit that it fills, with at most one decimal."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def rate_text(value: float, unit: str) -> str:
    """A rate in the largest decimal unit that it fills: ``1.2 GHz``, ``819.2 GB/s``."""
    prefix = ""
    for larger in ("k", "M", "G", "T"):
        if abs(value) < 1000:
            break
        value, prefix = value / 1000, larger
    return f"{value:.1f}".removesuffix(".0") + f" {prefix}{unit}"


def count_text(count: int, noun: str) -> str:
    """A count with its noun: ``1 core``, ``2 cores``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ranges_text(numbers: Sequence[int]) -> str:
    """Rising numbers, three or more in a row as a range: ``0, 1``, ``0-15, 20``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = (
        [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(number) for number in run] for run in runs
    )
    return ", ".join(chain.from_iterable(parts))


_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|min|h|d|month|y)")
# A month is 30 days, as tables of drift have it.
_SECONDS: Final = {
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "month": 2_592_000.0,
    "y": 31_536_000.0,
}


def parse_duration(text: str, option: str) -> float:
    """Seconds of ``30d``. Raises InvalidArgument naming the option, its value and the form."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"{option} = {text!r} is not a time to come",
            hint="write a number and a unit: 90s, 15min, 1h, 30d, 1month, 1y",
        )
    return float(match[1]) * _SECONDS[match[2]]


def age_text(seconds: float) -> str:
    """An age in its two largest units at most: ``3m``, ``2h 5m``, ``4d 1h``."""
    left = max(0, int(seconds))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
