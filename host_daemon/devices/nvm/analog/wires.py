"""Wires have resistance: voltage drops along the rows and columns of a crossbar.

A row is driven at its first column, a column is read at its last row, at ground; each wire segment
between neighbours, the one at the driver and the one at the reader included, has one resistance.
Cells and wires are linear, so that what comes out is one matrix times what goes in: an array with
resistive wires reads as one of smaller, *effective* conductances.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.reals import Reals

# The largest load (see ``loads``) up to which the closed form was compared with the exact
# solution: 128 x 128 cells of 40 kohm with 5 ohm a segment, whose outputs it meets within 7 % of
# the error that it models (2.5 % at 1 ohm).
VALID_LOAD: Final = 2.1


def loads(conductances: Reals, ohms: float) -> Reals:
    """What each cell loses, relative to what it gets, to first order in the resistance.

    With r ohms a segment, cell (i, j) of n rows loses on its row ``r sum_m g_im min(j, m)`` and on
    its column ``r sum_k g_kj min(n+1-i, n+1-k)`` (counted from 1): the segments that the currents
    of two cells share. The second is the effect that its own current has on all the others of its
    column, which is the same in sum.

    Args:
        conductances: (..., rows, columns) in siemens, rows driven at their first column.
        ohms: of a segment.

    Returns:
        Same shape, float64, without unit.

    """
    cells = np.asarray(conductances, np.float64)
    row = np.cumsum(np.cumsum(cells[..., ::-1], axis=-1)[..., ::-1], axis=-1)
    column = np.cumsum(np.cumsum(cells, axis=-2)[..., ::-1, :], axis=-2)[..., ::-1, :]
    return np.asarray(ohms * (row + column))


def effective(conductances: Reals, ohms: float) -> tuple[Reals, float]:
    """Conductances that give, with perfect wires, the outputs of a crossbar with resistive ones.

    ``g / (1 + load)``: right to first order, and in higher orders as a chain of equal cells is.
    Second value: the largest load; the form is out of its range where that exceeds
    ``VALID_LOAD``. O(cells).
    """
    load = loads(conductances, ohms)
    return np.asarray(conductances / (1 + load)), float(load.max(initial=0.0))


def column_drop(driven: Reals, weights: Reals, ratio: float) -> Reals:
    """What the wires of columns take from outputs, by aihwkit's closed form for one column.

    ``a = n / ratio sum_j |w_j x_j|``, ``c = 0.5 a - 0.2 a^2 + 0.05 a^3``, and the loss is
    ``c sum_j w_j x_j (1 - (1 - j / n)^2)``: a fit of the steady state of a column whose first
    input is farthest from its reader. Rasch et al., Nature Communications 14 (2023), methods.

    Args:
        driven: inputs (batch, rows), normalised.
        weights: (rows, columns), normalised.
        ratio: conductance of a wire segment over that of a weight of 1.

    Returns:
        (batch, columns) float32, to be subtracted.

    """
    rows = len(weights)
    load = np.abs(driven) @ np.abs(weights)
    load *= np.float32(rows / ratio)
    factor = load * (load * (np.float32(0.05) * load - np.float32(0.2)) + np.float32(0.5))
    place = 1 - (1 - np.arange(rows, dtype=np.float32) / rows) ** 2
    factor *= (driven * place) @ weights
    return np.asarray(factor, np.float32)
