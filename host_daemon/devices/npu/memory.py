"""How a GEMM is cut so that it fits SRAM and feeds every array, and what then crosses DRAM and
SRAM.

The cut is Gemmini's (Genc et al., DAC 2021), as ONNXim takes it over: half of the SRAM and half
of the accumulators hold the tile that is computed on, the other half the one that is loaded. With
E the array's edge, a tile of sums is at most e x e blocks of E x E, e = floor(sqrt(accumulators /
2 / (4 E^2))), and is as deep in K as the rest of the SRAM allows. Where that gives fewer tiles
than arrays, the longer of M and N is cut further; of a square ONNXim cuts neither, real cards one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from host_daemon.devices.gemm import Gemm
from host_daemon.devices.npu.shape import Machine


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles along M, N and K, and the size of an inner tile."""

    tiles_m: int
    tiles_n: int
    tiles_k: int
    m: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes moved: DRAM reads and writes, and SRAM (accumulators included)."""

    dram_read: int
    dram_write: int
    sram: int


def _blocks(size: int, edge: int) -> int:
    return -(-size // edge)


def _spread(tiles_m: int, tiles_n: int, gemm: Gemm, machine: Machine) -> tuple[int, int]:
    """Cut the longer side further, until there is a tile for every array."""
    units = machine.units
    tiles = tiles_m * tiles_n * gemm.batch
    if gemm.m == gemm.n and not machine.cuts_squares:
        return tiles_m, tiles_n
    if tiles < units:
        more = -(-units // tiles)
        if gemm.n > gemm.m:
            tiles_n *= more
        else:
            tiles_m *= more
        tiles = tiles_m * tiles_n * gemm.batch
    rest = tiles % units
    if rest and gemm.batch == 1:
        if gemm.n > gemm.m:
            tiles_n += rest
        else:
            tiles_m += rest
    return tiles_m, tiles_n


def _even(blocks: int, tiles: int, edge: int) -> int:
    """The side of a tile: an even share, cut down to whole blocks."""
    return max(1, -(-blocks * edge // tiles) // edge) * edge


def least_sram(machine: Machine) -> int:
    """Bytes for one block of each operand, and again for those that are loaded meanwhile."""
    bits = max(machine.left_bits, machine.right_bits)
    return 2 * 2 * (machine.rows * machine.columns * bits // 8)


def tile(gemm: Gemm, machine: Machine) -> Tiling:
    """Cut a GEMM for a machine. Every size must be positive."""
    rows, columns = machine.rows, machine.columns
    sums = machine.accumulator_bytes // 2 // (columns * columns * machine.sum_bits // 8)
    blocks = machine.sram_bytes // least_sram(machine)
    edge = max(1, min(math.isqrt(sums), blocks))
    depth = max(1, blocks // edge)
    m_blocks, n_blocks = _blocks(gemm.m, columns), _blocks(gemm.n, columns)
    k_blocks = _blocks(gemm.k, rows)
    tiles_m, tiles_n = _blocks(m_blocks, edge), _blocks(n_blocks, edge)
    tiles_m, tiles_n = _spread(tiles_m, tiles_n, gemm, machine)
    inner_m = _even(m_blocks, tiles_m, columns)
    inner_n = _even(n_blocks, tiles_n, columns)
    inner_k = _even(k_blocks, _blocks(k_blocks, depth), rows)
    return Tiling(
        _blocks(gemm.m, inner_m),
        _blocks(gemm.n, inner_n),
        _blocks(gemm.k, inner_k),
        min(inner_m, gemm.m),
        min(inner_n, gemm.n),
        min(inner_k, gemm.k),
    )


def _requests(contiguous: int, request: int) -> float:
    """Bytes that cross the bus for each byte wanted, where runs of so many are fetched."""
    return _blocks(contiguous, request) * request / contiguous


def traffic(gemm: Gemm, tiling: Tiling, machine: Machine) -> Traffic:
    """What a tiled GEMM moves, in whole bursts of DRAM.

    DRAM: the left operand once per tile column, the right one once per tile row, the result once,
    block by block of the array's width. Rows of K lie one after the other, so that a block of
    whole rows is one run. SRAM: what stays is read once, what streams once per fold across it,
    sums are written and read again once per fold of K.
    """
    rows, columns, request = machine.rows, machine.columns, machine.request_bytes
    run = tiling.k * (columns if tiling.tiles_k == 1 else 1)
    left = gemm.left_bytes * _requests(max(1, run * machine.left_bits // 8), request)
    right = gemm.right_bytes * _requests(max(1, run * machine.right_bits // 8), request)
    read = int(left * tiling.tiles_n + right * tiling.tiles_m) + gemm.beside_bytes
    elements = gemm.batch * gemm.m * gemm.n
    width = min(columns, gemm.n) * gemm.output_bytes // elements
    written = int(gemm.output_bytes * _requests(max(1, width), request))
    along_k, along_n = _blocks(gemm.k, rows), _blocks(gemm.n, columns)
    streamed = gemm.batch * gemm.m * gemm.k * along_n * machine.left_bits // 8
    kept = gemm.batch * gemm.k * gemm.n * machine.right_bits // 8
    sums = elements * (2 * along_k - 1) * machine.sum_bits // 8
    return Traffic(read, written, read + written + streamed + kept + sums)
