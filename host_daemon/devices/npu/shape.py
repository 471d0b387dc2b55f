"""What a group of arrays can do in one arithmetic."""

from __future__ import annotations

from dataclasses import dataclass


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
