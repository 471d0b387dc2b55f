"""The exact currents of a crossbar whose wires have resistance: Kirchhoff's law at every node.

A row is driven at its first column, a column is read at its last row, at ground. Each segment of
a wire between neighbours, the one at the driver and the one at the reader included, has the same
resistance. The matrix is symmetric and positive definite; it is factorised once for many vectors.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

from host_daemon.devices.nvm.analog.reals import Reals
from vaccel.errors import InvalidArgument

# Columns that are solved at once: each takes 16 bytes a node, twice.
_AT_ONCE: Final = 32


class NodalSolver:
    """A crossbar of conductances (rows, columns) in siemens and wires of ``ohms`` a segment.

    Raises InvalidArgument where a conductance or the resistance is not a finite number >= 0.
    """

    def __init__(self, conductances: Reals, ohms: float) -> None:
        cells = np.asarray(conductances, np.float64)
        if cells.ndim != 2 or not np.isfinite(cells).all() or (cells < 0).any():
            raise InvalidArgument("conductances are not a matrix of finite numbers >= 0")
        if not 0 <= ohms < float("inf"):
            raise InvalidArgument(f"wire resistance {ohms} ohm", hint="a finite number >= 0")
        self._cells = cells
        self._wire = 1 / ohms if ohms else 0.0
        self._factors = None
        if ohms:
            self._factors = splu(
                _laplacian(cells, self._wire),
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )

    def currents(self, volts: Reals) -> Reals:
        """Output currents (batch, columns) in ampere of row voltages (batch, rows), float64."""
        volts = np.asarray(volts, np.float64)
        rows, columns = self._cells.shape
        if volts.ndim != 2 or volts.shape[1] != rows:
            raise InvalidArgument(f"voltages have shape {volts.shape}, there are {rows} rows")
        if self._factors is None:
            return np.asarray(volts @ self._cells)
        right = np.zeros((2 * rows * columns, len(volts)))
        right[: rows * columns : columns] = self._wire * volts.T
        nodes = self._factors.solve(right)
        return np.asarray(self._wire * nodes[-columns:].T)

    def effective(self) -> Reals:
        """Conductances that give the same currents with perfect wires, (rows, columns) float64.

        One solution per column: what flows from a driver to a reader is the same as what would
        flow from the reader to the driver.
        """
        if self._factors is None:
            return self._cells
        rows, columns = self._cells.shape
        result = np.empty((rows, columns))
        for first in range(0, columns, _AT_ONCE):
            count = min(_AT_ONCE, columns - first)
            right = np.zeros((2 * rows * columns, count))
            right[np.arange(count) + first - columns, np.arange(count)] = self._wire
            nodes = self._factors.solve(right)
            result[:, first : first + count] = self._wire * nodes[: rows * columns : columns]
        return result


def _laplacian(cells: Reals, wire: float) -> csc_array:
    """Conductances between nodes: those on rows first, then those on columns."""
    rows, columns = cells.shape
    size = cells.size
    row_node = np.arange(size).reshape(rows, columns)
    column_node = row_node + size
    ends = [
        (row_node[:, :-1], row_node[:, 1:], np.full((rows, columns - 1), wire)),
        (column_node[:-1], column_node[1:], np.full((rows - 1, columns), wire)),
        (row_node, column_node, cells),
    ]
    one = np.concatenate([each[0].ravel() for each in ends])
    other = np.concatenate([each[1].ravel() for each in ends])
    value = np.concatenate([each[2].ravel() for each in ends])
    ground = np.concatenate([row_node[:, 0], column_node[-1]])
    diagonal = np.bincount(one, value, 2 * size) + np.bincount(other, value, 2 * size)
    diagonal[ground] += wire
    every = np.arange(2 * size)
    return coo_array(
        (
            np.concatenate([-value, -value, diagonal]),
            (np.concatenate([one, other, every]), np.concatenate([other, one, every])),
        ),
        shape=(2 * size, 2 * size),
    ).tocsc()
