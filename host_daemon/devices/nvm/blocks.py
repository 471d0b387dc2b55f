"""How a matrix of weights is cut into blocks that fit tiles.

Rows are inputs, columns are outputs. A block takes one tile. Blocks in which no weight can be,
because groups of a convolution do not meet there, take none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of the matrix, from its first row and column on."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def inputs(self) -> slice:
        """Its rows in the matrix."""
        return slice(self.row, self.row + self.rows)

    @property
    def outputs(self) -> slice:
        """Its columns in the matrix."""
        return slice(self.column, self.column + self.columns)


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix of ``inputs`` by ``outputs`` with ``groups`` on its diagonal, and its blocks."""

    inputs: int
    outputs: int
    groups: int
    blocks: tuple[Block, ...]

    @property
    def useful(self) -> int:
        """Weights that are not zero by construction."""
        return self.inputs * self.outputs // self.groups

    @property
    def cells(self) -> int:
        """Weights that tiles hold, zeros between groups included."""
        return sum(block.rows * block.columns for block in self.blocks)

    @property
    def conversions_in(self) -> int:
        """Inputs over all blocks: each tile has converters of its own."""
        return sum(block.rows for block in self.blocks)

    @property
    def partial_outputs(self) -> int:
        """Outputs over all blocks, to be summed in digital."""
        return sum(block.columns for block in self.blocks)


@lru_cache(maxsize=1024)
def cut(inputs: int, outputs: int, groups: int, rows: int, columns: int) -> Grid:
    """Cut a matrix for tiles of ``rows`` by ``columns``. Sizes are positive; groups divide both."""
    found = []
    deep, wide = inputs // groups, outputs // groups
    for row in range(0, inputs, rows):
        end = min(row + rows, inputs)
        # The groups that these rows belong to, and so the only columns that have weights.
        first, last = row // deep, (end - 1) // deep
        low, high = first * wide, (last + 1) * wide
        for column in range(low - low % columns, high, columns):
            width = min(column + columns, outputs) - column
            found.append(Block(row, column, end - row, width))
    return Grid(inputs, outputs, groups, tuple(found))
