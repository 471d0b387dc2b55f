"""Wires have resistance: voltage drops along rows and columns of a crossbar.

A row is driven at its first column, a column is read at its last row at ground; each wire segment
between neighbours, the one at the driver and the one at the reader included, has one resistance.
"""

from __future__ import annotations

import numpy as np

from vaccel.model import Array


def column_drop(driven: Array, weights: Array, ratio: float) -> Array:
    """What the wires of columns take from outputs, by a closed form for one column.

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
