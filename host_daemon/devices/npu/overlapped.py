"""Several arrays that overlap what they can: the timing of real cards.

The next fold's stationary operand is loaded while this one streams, the next tile comes from DRAM
while this one is computed, and tiles go round the arrays. With E the array's width, ``first`` the
operands of the first block, and ``tail`` the compute that waits for the last block to arrive::

    fold    = ceil(streamed / E) * E * slowdown        one preload of E cycles hides behind it
    compute = most tiles of one array * folds of a tile * fold
    moved   = bytes read, and written by all but the last tile of each array
    memory  = max(moved / sustained bandwidth, moved per array / its port)
    total   = latency + 2E - 1 + max(first / feed + compute, memory + tail) + R + C - 2

The last store is not waited for: the next operation's loads overlap it. ONNXim (Ham et al., IEEE
CAL 2024) simulates the same overlap; docs/devices/npu.md compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from host_daemon.devices.gemm import Gemm
from host_daemon.devices.npu.memory import Tiling, Traffic, tile, traffic
from host_daemon.devices.npu.shape import Machine
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
    rows, columns = machine.rows, machine.columns
    tiles = gemm.batch * tiling.tiles_m * tiling.tiles_n
    used = min(machine.units, tiles)
    waited = moved.dram_read + moved.dram_write * (tiles - used) / tiles
    dram = waited / machine.dram_bytes_per_cycle
    memory = max(dram, waited / used / machine.port_bytes_per_cycle)
    pipeline = 2 * columns - 1 + rows + columns - 2
    # The last rows leave early where they do not fill a block; four is the least a fold streams.
    early = columns - max(4, (gemm.m - 1) % columns + 1)
    total = pipeline + compute - early
    if moved.dram_read:
        # Nothing to fetch is a step of a recurrence: its operands are on the core already.
        block = min(tiling.m, columns) * machine.left_bits
        block += min(tiling.n, columns) * machine.right_bits
        feed = min(machine.port_bytes_per_cycle, machine.dram_bytes_per_cycle / used)
        first = min(block * tiling.k // 8, moved.dram_read) / feed
        tail = _fold_cycles(tiling.m, min(tiling.n, columns), tiling.k, machine)
        bound = max(first + compute, memory + min(tail, compute))
        total = machine.latency_cycles + pipeline + bound - early
    busy = (moved.dram_read + moved.dram_write) / machine.dram_bytes_per_cycle
    return Timing(math.ceil(total), math.ceil(compute), math.ceil(busy), moved)
