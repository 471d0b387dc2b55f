"""Charge-trapping SONOS cells: how their current moves and spreads in the days after programming.

The statistics of 128 000 cells of 40 nm, measured for five days: V. Agrawal et al., "Subthreshold
operation of SONOS analog memory to enable accurate low-power neural network inference", IEDM
2022, figures 10 and 11; the coefficients are the fits that CrossSim 3 publishes with its model.
Between two days they are interpolated. **After five days there is no measurement**: mean and
spread go on, with the slope they have then, in the logarithm of time. That is an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.laws import DAY
from host_daemon.devices.nvm.analog.reals import Reals

# A current of 100 nA is taken for 1 uS: cells are read at 0.1 V.
_NANOAMPERE: Final = 0.01
_LAST: Final = 5.0
# Change of the mean current (nA) by powers of the current (nA), after 0 to 5 days.
_SHIFTS: Final = np.array(
    [
        [0.0] * 11,
        [
            *(6.83650e-01, 6.51250e-03, -4.03163e-04, 3.37944e-06, -1.87435e-08, 5.88902e-11),
            *(-1.07685e-13, 1.17751e-16, -7.60016e-20, 2.67255e-23, -3.94954e-27),
        ],
        [
            *(6.60925e-01, 8.60627e-03, -1.72936e-04, 7.44096e-07, -5.94866e-09, 2.36734e-11),
            *(-4.83740e-14, 5.56072e-17, -3.65397e-20, 1.28405e-23, -1.87450e-27),
        ],
        [
            *(1.15821e00, 1.96116e-02, -4.70807e-04, 3.67510e-06, -2.08786e-08, 6.59752e-11),
            *(-1.19499e-13, 1.28435e-16, -8.11574e-20, 2.78802e-23, -4.02057e-27),
        ],
        [
            *(8.72216e-01, 1.70926e-02, -2.23370e-04, 1.57526e-06, -1.32779e-08, 5.08256e-11),
            *(-1.01251e-13, 1.14633e-16, -7.46124e-20, 2.60559e-23, -3.78724e-27),
        ],
        [
            *(1.15294e00, 1.03149e-02, -6.05199e-05, 1.76086e-08, -6.46690e-09, 3.39044e-11),
            *(-7.53872e-14, 8.98185e-17, -6.00346e-20, 2.12615e-23, -3.11099e-27),
        ],
    ]
)
# The spread is ``amplitude (1 - exp(-I / scale))``, both in nA, after 0 to 5 days.
_AMPLITUDES: Final = np.array([19.88665, 25.59102, 28.72753, 31.04318, 33.76214, 34.57909])
_SCALES: Final = np.array([176.3115, 186.85544, 193.56834, 198.90332, 204.77023, 207.34309])


@dataclass(frozen=True, slots=True)
class ChargeLoss:
    """The drift law of SONOS. A cell keeps its place in the spread (see ``laws.Drift``)."""

    def draw(self, target: Reals, error: Reals, rng: np.random.Generator) -> Reals:
        """Standard deviations by which programming missed; later spreads hold the same place."""
        return error

    def at(self, target: Reals, programmed: Reals, kept: Reals, age: Reals | float) -> Reals:
        """See ``laws.Drift``."""
        days = np.asarray(age, np.float64) / DAY
        if days.ndim:
            stamps = np.unique(days)
            moved = np.empty_like(target)
            for stamp in stamps:
                here = np.broadcast_to(days == stamp, target.shape)
                moved[here] = _at(target[here], kept[here], float(stamp))
        else:
            moved = _at(target, kept, float(days))
        return np.where(np.asarray(age) > 0, moved, programmed).astype(np.float32)


def _at(target: Reals, kept: Reals, days: float) -> Reals:
    polynomial, amplitude, scale = _fits(days)
    current = target.astype(np.float64) / _NANOAMPERE
    current += np.polynomial.polynomial.polyval(current, polynomial)
    current -= amplitude * np.expm1(-np.maximum(current, 0) / scale) * kept
    return np.asarray(current * _NANOAMPERE, np.float32)


def _fits(days: float) -> tuple[Reals, float, float]:
    low = min(int(days), int(_LAST) - 1)
    part = min(days, _LAST) - low
    fits = [
        table[low] + part * (table[low + 1] - table[low])
        for table in (_SHIFTS, _AMPLITUDES, _SCALES)
    ]
    if days <= _LAST:
        return fits[0], float(fits[1]), float(fits[2])
    grown = np.log(days / _LAST)
    slope = grown / np.log(_LAST / (_LAST - 1))
    return (
        _SHIFTS[-1] * (1 + grown),
        float(_AMPLITUDES[-1] + slope * (_AMPLITUDES[-1] - _AMPLITUDES[-2])),
        float(_SCALES[-1] + slope * (_SCALES[-1] - _SCALES[-2])),
    )
