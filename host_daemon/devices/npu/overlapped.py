"""Several arrays that overlap what they can: the timing of real cards.

The next fold's stationary operand is loaded while this one streams, the next tile comes from DRAM
while this one is computed, and tiles go round the arrays. What is left in the open is the first
load, the pipeline, and the last store::

    compute = most tiles of one array * folds of a tile * max(streamed, E) * slowdown
    dram    = bytes / sustained bandwidth;   port = bytes of one array / its port
    total   = ramp + max(compute, dram, port) + drain

(ONNXim, Ham et al., IEEE CAL 2024, has the same overlap as a simulation; see
docs/devices/npu.md.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from host_daemon.devices.npu.memory import Tiling, Traffic, tile, traffic
from host_daemon.devices.npu.shape import Gemm, Machine
from host_daemon.devices.npu.systolic import folding


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles from start to end, and how long the busiest array and the DRAM are busy."""

    total: int
    compute: int
    dram: int
    traffic: Traffic


def _fold_cycles(m: int, n: int, k: int, machine: Machine) -> float:
    """One tile on one array: each fold streams at least as long as the next one's preload takes."""
    along_rows, along_columns, streamed = folding(machine.dataflow, (m, n, k))
    folds = -(-along_rows // machine.rows) * -(-along_columns // machine.columns)
    edge = machine.columns
    return folds * -(-streamed // edge) * edge * machine.slowdown


def _compute(gemm: Gemm, tiling: Tiling, machine: Machine) -> float:
    """Cycles of the busiest array: tiles of sums go round the arrays, all of K stays on one."""
    per_tile = _fold_cycles(tiling.m, tiling.n, gemm.k, machine)
    tiles = gemm.batch * tiling.tiles_m * tiling.tiles_n
    whole = _fold_cycles(gemm.m, gemm.n, gemm.k, machine) * gemm.batch
    busiest = -(-tiles // machine.units) * per_tile
    # One array cannot be busier than the whole work: ragged last tiles are shorter.
    return min(busiest, whole)


def overlapped(gemm: Gemm, machine: Machine) -> Timing:
    """The timing of a GEMM; all of its sizes positive."""
    tiling = tile(gemm, machine)
    moved = traffic(gemm, tiling, machine)
    compute = _compute(gemm, tiling, machine)
    dram = (moved.dram_read + moved.dram_write) / machine.dram_bytes_per_cycle
    used = min(machine.units, gemm.batch * tiling.tiles_m * tiling.tiles_n)
    port = (moved.dram_read + moved.dram_write) / used / machine.port_bytes_per_cycle
    rows, columns = machine.rows, machine.columns
    first = min(tiling.m, columns) * min(tiling.k, rows) * machine.left_bits // 8
    first += min(tiling.k, rows) * min(tiling.n, columns) * machine.right_bits // 8
    last = min(tiling.m, columns) * min(tiling.n, columns) * machine.left_bits // 8
    feed = min(machine.port_bytes_per_cycle, machine.dram_bytes_per_cycle / used)
    # A step of a recurrence finds its operands on the core: nothing is fetched, nothing stored.
    fetch = machine.latency_cycles + first / feed if moved.dram_read else 0
    store = machine.latency_cycles + last / feed if moved.dram_write else 0
    ramp = fetch + 2 * columns - 1
    drain = rows + columns - 2 + store
    total = ramp + max(compute, dram, port) + drain
    return Timing(math.ceil(total), math.ceil(compute), math.ceil(dram), moved)
