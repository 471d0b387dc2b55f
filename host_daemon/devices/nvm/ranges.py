"""What the full scale of a matrix's DACs stands for, and how a card finds it out.

``maximum``
    Digital logic finds the largest absolute value of each vector, and scales by it.
``fixed``
    One limit, of the card or of the node; larger inputs are clipped, and counted.
``calibrated``
    A limit from data, as chips without such logic are set up. The digital core looks at the
    activations of the first launch after a program was loaded, or after the operator
    recalibrated, and takes the percentile of ``converters.calibrated`` of them all. One number for
    a node; it is a register of the digital side, and gone with the program.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import INPUT_LIMIT, INPUT_RANGE, Operation
from host_daemon.devices.nvm.analog.converters import InputRange, Periphery, calibrated
from vaccel.errors import InvalidArgument
from vaccel.model import Array

Floats = NDArray[np.float32]

# Deviations of normal inputs that a calibrated range holds: 99.995 % of absolute values.
FILL: Final = 4.056
# Of a limit: what is beyond has no reciprocal in float32.
_LEAST: Final = 1e-30
_MOST: Final = 1e30


def asked(operation: Operation, edge: Periphery) -> Periphery:
    """The card's edge with the range that a node states. Raises InvalidArgument."""
    text, given = (operation.attributes.get(key) for key in (INPUT_RANGE, INPUT_LIMIT))
    if text is None and given is None:
        return edge
    limit = None if given is None else _limit(operation, given)
    try:
        mode = InputRange.FIXED if text is None else InputRange(text)
    except ValueError:
        raise InvalidArgument(
            f"{operation.op}: {INPUT_RANGE} = {str(text)[:80]!r}", hint=" or ".join(InputRange)
        ) from None
    if mode is not InputRange.FIXED:
        if limit is not None:
            raise InvalidArgument(
                f"{operation.op}: {INPUT_LIMIT} = {limit:g} with {INPUT_RANGE} = {mode}",
                hint="only a fixed range has a limit",
            )
        return replace(edge, input_range=mode, fixed_range=FILL)
    if limit is None and edge.input_range is not InputRange.FIXED:
        raise InvalidArgument(
            f"{operation.op}: {INPUT_RANGE} = {mode}, but this card has no limit of its own",
            hint=f"state {INPUT_LIMIT}",
        )
    return replace(edge, input_range=mode, fixed_range=limit or edge.fixed_range)


def _limit(operation: Operation, given: object) -> float:
    try:
        value = float(str(given))
    except ValueError:
        value = math.nan
    if not _LEAST <= value <= _MOST:
        raise InvalidArgument(
            f"{operation.op}: {INPUT_LIMIT} = {str(given)[:80]!r}",
            hint=f"a number from {_LEAST:g} to {_MOST:g}",
        )
    return value


def learned(data: Array) -> float | None:
    """The range that a launch's activations ask for; None where they say nothing."""
    largest = float(np.abs(data).max(initial=0))
    if not _LEAST <= largest < math.inf:
        return None  # all zero; or not finite, which the product refuses by vector
    try:
        found = calibrated(data)
    except InvalidArgument:
        found = largest  # nearly all zero
    return min(max(found, _LEAST), _MOST)


def test_vectors(rng: np.random.Generator, count: int, rows: int, edge: Periphery) -> Floats:
    """Normal inputs (count, rows), float32, that fill the range as those do that it is made for."""
    vectors = rng.standard_normal((count, rows), dtype=np.float32)
    if edge.input_range is not InputRange.MAXIMUM:
        vectors *= np.float32(edge.fixed_range / FILL)
    return vectors
