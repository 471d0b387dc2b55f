"""Drift compensation: a factor in digital that undoes the mean loss of conductance.

The array is read with one-hot inputs through its own converters when it is programmed, and
again later; outputs are then multiplied by the ratio of mean absolute readings (Joshi et al.,
Nature Communications 11 (2020), "global drift compensation").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.converters import ReadCounts
from host_daemon.devices.nvm.analog.snapshot import Snapshot

_SMALLEST: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reading: the mean absolute output in normalised units, and what it took."""

    reading: float
    counts: ReadCounts


def calibrate(snapshot: Snapshot, rng: np.random.Generator) -> Calibration:
    """Read an array with one-hot vectors: as many vectors as it has rows."""
    rows = snapshot.weights.shape[1]
    full = np.float32(snapshot.periphery.fixed_range)
    outputs, counts = snapshot.mvm(np.eye(rows, dtype=np.float32) * full, rng)
    reading = float(np.mean(np.abs(outputs / snapshot.scale), dtype=np.float64))
    return Calibration(max(reading, _SMALLEST), counts)


def factor(baseline: Calibration, present: Calibration) -> float:
    """What to multiply outputs with: baseline over present reading."""
    return baseline.reading / present.reading
