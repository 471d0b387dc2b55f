"""A GEMM as the arrays see it, and what a group of arrays can do in one arithmetic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gemm:
    """``batch`` independent products of M x K by K x N.

    ``left_bytes`` and ``right_bytes`` are what DRAM holds of the two operands, all batches
    together: im2col repeats elements on their way through SRAM that DRAM holds once. ``macs`` are
    the useful ones; a block diagonal packing of groups fills the array with more.
    """

    m: int
    n: int
    k: int
    batch: int
    left_bytes: int
    right_bytes: int
    output_bytes: int
    macs: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to compute."""
        return 0 in (self.m, self.n, self.k, self.batch)


@dataclass(frozen=True, slots=True)
class Machine:
    """Arrays that work on one GEMM together, in one arithmetic.

    ``rows`` are effective: an arithmetic of 2 MACs a cycle takes two values of K in one
    processing element. ``slowdown`` is cycles per streamed row, above 1 where an arithmetic takes
    several passes. Sizes and ports are per array; ``dram_bytes_per_cycle`` is for all, sustained.
    Bits are of an element in memory.
    """

    rows: int
    columns: int
    units: int
    dataflow: str
    slowdown: float
    left_bits: int
    right_bits: int
    sum_bits: int
    sram_bytes: int
    accumulator_bytes: int
    port_bytes_per_cycle: float
    dram_bytes_per_cycle: float
    request_bytes: int
    latency_cycles: float
    # Whether more arrays than tiles cut a product with M = N, too. ONNXim leaves it whole.
    cuts_squares: bool = True
