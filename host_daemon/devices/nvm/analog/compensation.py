"""Drift compensation: a factor in digital that undoes the mean loss of conductance.

The array is read with one-hot inputs through its own converters when it is programmed, and
again later; outputs are then multiplied by the ratio of mean absolute readings (Joshi et al.,
Nature Communications 11 (2020), "global drift compensation").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from host_daemon.devices.nvm.analog.converters import ReadCounts
from host_daemon.devices.nvm.analog.crossbar import Snapshot


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reading: the mean absolute output, when, and what it took."""

    reading: float
    now: float
    counts: ReadCounts


def calibrate(snapshot: Snapshot, now: float, rng: np.random.Generator) -> Calibration:
    """Read an array with one-hot vectors: as many vectors as it has rows."""
    raise NotImplementedError


def factor(baseline: Calibration, present: Calibration) -> float:
    """What to multiply outputs with: baseline over present reading."""
    return baseline.reading / present.reading
