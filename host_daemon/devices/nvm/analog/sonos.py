"""Charge-trapping SONOS cells: how their current moves and spreads in the days after programming.

The statistics of 128 000 cells of 40 nm, measured for five days: V. Agrawal et al., "Subthreshold
operation of SONOS analog memory to enable accurate low-power neural network inference", IEDM
2022, figures 10 and 11; the coefficients are the fits that CrossSim 3 publishes with its model.
Between two days they are interpolated. **After five days there is no measurement**: mean and
spread go on, with the slope they have then, in the logarithm of time. That is an assumption.
CrossSim goes on linearly in time, as its polynomials of ten powers then grow without bound; so does
``ChargeLoss(linear=True)``, which is for comparing with it.
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
            *(1.72684e-01, 5.72552e-02, -6.85715e-04, 3.50271e-06, -9.37682e-09, 1.40575e-11),
            *(-1.19803e-14, 5.41293e-18, -8.85448e-22, -1.66869e-25, 5.95180e-29),
        ],
        [
            *(2.50712e-01, 6.62195e-02, -6.83218e-04, 2.99442e-06, -6.78255e-09, 7.70482e-12),
            *(-3.04983e-15, -2.15919e-18, 2.94617e-21, -1.23359e-24, 1.85329e-28),
        ],
        [
            *(-1.75300e-02, 9.76883e-02, -9.63791e-04, 4.55551e-06, -1.22391e-08, 1.93786e-11),
            *(-1.85899e-14, 1.07659e-17, -3.58211e-21, 5.96785e-25, -3.30410e-29),
        ],
        [
            *(4.03338e-02, 1.03111e-01, -1.04740e-03, 4.83961e-06, -1.28132e-08, 1.99484e-11),
            *(-1.85139e-14, 1.00008e-17, -2.84944e-21, 3.01008e-25, 1.18747e-29),
        ],
        [
            *(3.19927e-01, 1.06596e-01, -1.04054e-03, 4.50290e-06, -1.10352e-08, 1.56477e-11),
            *(-1.27592e-14, 5.45513e-18, -7.26841e-22, -2.43893e-25, 7.14608e-29),
        ],
    ]
)
# The spread is ``amplitude (1 - exp(-I / scale))``, both in nA, after 0 to 5 days.
_AMPLITUDES: Final = np.array([19.88665, 25.59102, 28.72753, 31.04318, 33.76214, 34.57909])
_SCALES: Final = np.array([176.3115, 186.85544, 193.56834, 198.90332, 204.77023, 207.34309])


@dataclass(frozen=True, slots=True)
class ChargeLoss:
    """The drift law of SONOS. A cell keeps its place in the spread (see ``laws.Drift``).

    ``linear``: after the last measurement all fits go on linearly in time.
    """

    linear: bool = False

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
                moved[here] = _at(target[here], kept[here], float(stamp), self.linear)
        else:
            moved = _at(target, kept, float(days), self.linear)
        return np.where(np.asarray(age) > 0, moved, programmed).astype(np.float32)


def _at(target: Reals, kept: Reals, days: float, linear: bool) -> Reals:
    polynomial, amplitude, scale = _fits(days, linear)
    current = target.astype(np.float64) / _NANOAMPERE
    current += np.polynomial.polynomial.polyval(current, polynomial)
    current -= amplitude * np.expm1(-np.maximum(current, 0) / scale) * kept
    return np.asarray(current * _NANOAMPERE, np.float32)


def _fits(days: float, linear: bool = False) -> tuple[Reals, float, float]:
    low = min(int(days), int(_LAST) - 1)
    part = (days if linear else min(days, _LAST)) - low
    fits = [
        table[low] + part * (table[low + 1] - table[low])
        for table in (_SHIFTS, _AMPLITUDES, _SCALES)
    ]
    if linear or days <= _LAST:
        return fits[0], float(fits[1]), float(fits[2])
    grown = np.log(days / _LAST)
    slope = grown / np.log(_LAST / (_LAST - 1))
    return (
        _SHIFTS[-1] * (1 + grown),
        float(_AMPLITUDES[-1] + slope * (_AMPLITUDES[-1] - _AMPLITUDES[-2])),
        float(_SCALES[-1] + slope * (_SCALES[-1] - _SCALES[-2])),
    )
