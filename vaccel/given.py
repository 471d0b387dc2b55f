"""What a program gave the SDK, checked where it was given: wrong types, sizes and times by name."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any, Final

import numpy as np

from vaccel.errors import InvalidArgument
from vaccel.model import DType

# The largest number that travels.
_MOST: Final = 2**63 - 1


def text(what: str, value: Any) -> str:
    """A text that can travel. Raises InvalidArgument."""
    if not isinstance(value, str):
        raise InvalidArgument(f"{what} is {_shown(value)}", hint="give a str")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{what} is {value!a}, which is not UTF-8") from None
    return value


def count(what: str, value: Any, least: int = 0) -> int:
    """A whole number from ``least`` on; what counts as one for Python does. InvalidArgument."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= _MOST:
        raise InvalidArgument(f"{what} is {_shown(value)}", hint=f"give a whole number >= {least}")
    return number


def shape(what: str, value: Any) -> tuple[int, ...]:
    """A shape; a number stands for one axis. Raises InvalidArgument."""
    try:
        axes = tuple(value)
    except TypeError:
        axes = (value,)
    return tuple(count(f"{what}: axis {number}", axis) for number, axis in enumerate(axes))


def seconds(what: str, value: Any) -> float:
    """A time to wait, which may be infinite; one that has passed is 0. Raises InvalidArgument."""
    if isinstance(value, (float, int, Real)):  # the usual types first
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isnan(number):  # it is less than no time: such a wait would never end
            return max(0.0, number)
    raise InvalidArgument(f"{what} is {_shown(value)}", hint="give seconds")


def share(what: str, value: Any) -> float:
    """A finite number above 0. Raises InvalidArgument."""
    number = math.nan
    if isinstance(value, (float, int, Real)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not 0 < number < math.inf:
        raise InvalidArgument(f"{what} is {_shown(value)}", hint="give a number such as 0.1")
    return number


def element(what: str, value: Any) -> DType:
    """An element type by its name, or NumPy's. Raises InvalidArgument with the names."""
    # NumPy would read a small language of its own from bytes and tuples, and None as float64.
    named: Any = value if isinstance(value, str) else None
    try:
        if isinstance(value, type | np.dtype):
            named = np.dtype(value).name
        return DType(named)
    except (TypeError, ValueError):
        names = ", ".join(each.value for each in DType)
        raise InvalidArgument(f"{what}: dtype is {_shown(value)}", hint=f"one of {names}") from None


def _shown(value: Any) -> str:
    return f"{value!r:.80}" if isinstance(value, str | int | float) else f"a {_type(value)}"


def _type(value: Any) -> str:
    return type(value).__name__
