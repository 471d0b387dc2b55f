"""A product of matrices, as whatever computes it sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gemm:
    """``batch`` independent products of M x K by K x N.

    ``left_bytes`` and ``right_bytes`` are what DRAM holds of the two operands, all batches
    together: im2col repeats elements on their way through SRAM that DRAM holds once. ``macs`` are
    the useful ones; a block diagonal packing of groups fills the array with more.
    ``beside_bytes`` are read with them for what is computed on the result before it is written.
    """

    m: int
    n: int
    k: int
    batch: int
    left_bytes: int
    right_bytes: int
    output_bytes: int
    macs: int
    beside_bytes: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to compute."""
        return 0 in (self.m, self.n, self.k, self.batch)
