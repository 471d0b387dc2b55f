"""Kernels as a channel sees them: which steps, how often, at which addresses.

A channel has eight blocks, each between an even and an odd bank, 16 lanes wide. GEMV takes 64
outputs a channel at a time (eight blocks of eight accumulators, GRF_B) and 128 inputs a tile
(eight bursts, GRF_A); tiles of even index lie in even banks, of odd index in odd banks. An
element-wise kernel takes 2048 elements a tile: 16 banks of eight bursts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from host_daemon.devices.pim.hbm.timing import BANKS, COLUMNS
from host_daemon.devices.pim.hbm.transactions import (
    REGISTERS,
    Phase,
    Step,
    Transaction,
    burst,
    closing,
    opening,
    write_grf,
    write_mode,
    write_srf,
)

LANES: Final = 16
BLOCKS: Final = BANKS // 2
# Inputs of one GEMV tile, outputs of one channel at a time, elements of an element-wise tile.
TILE_INPUTS: Final = REGISTERS * LANES
TILE_OUTPUTS: Final = BLOCKS * REGISTERS
TILE_ELEMENTS: Final = BANKS * REGISTERS * LANES
# Columns that the weights of one tile of GEMV take in each bank.
_TILE_COLUMNS: Final = REGISTERS * REGISTERS
# A row that no weights lie in, where a pattern puts its results.
_ANY_ROW: Final = 0xFFF
# Where the operands of element-wise kernels begin.
FIRST_ROW, SECOND_ROW, RESULT_ROW, THIRD_ROW, FOURTH_ROW = 0, 128, 256, 384, 512
# A row of zeros, by which GEMV's tree clears its accumulators.
ZERO_ROW: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Opening, then ``rounds`` times the same phases at other rows, then closing. One asked for
    again is the same object.

    ``words`` is the length of the program; ``place`` gives a round's phases by its number.
    ``pattern`` is any round: rows that differ there differ in all, so that its time is theirs.
    ``before`` are ordinary accesses that prepare it: they take time, but are not among its
    transactions.
    """

    words: int
    rounds: int
    pattern: tuple[Phase, ...]
    place: Callable[[int], tuple[Phase, ...]]
    before: Step = ()

    def __iter__(self) -> Iterator[Transaction]:
        """Every transaction in order, at its own address."""
        yield from opening(self.words)
        for index in range(self.rounds):
            for phase in self.place(index):
                yield from phase
        yield from closing()


@lru_cache(maxsize=4096)
def _gemv_tile(bank: int, row: int) -> Step:
    reads = [
        burst(False, bank, row, start) for start in range(0, _TILE_COLUMNS, REGISTERS)
    ]
    return (*write_grf(), *(each for read in reads for each in read))


def gemv_round(tiles: int, row: int, result_row: int, result_column: int) -> tuple[Phase, ...]:
    """64 outputs of a channel, over all tiles of its inputs."""
    return (
        Phase(write_mode("pim")),
        Phase(_gemv_tile(0, row), -(-tiles // 2), _TILE_COLUMNS),
        *((Phase(_gemv_tile(1, row), tiles // 2, _TILE_COLUMNS),) if tiles > 1 else ()),
        Phase(burst(True, 1, result_row, result_column)),
        Phase(write_mode("all")),
    )


@lru_cache(maxsize=1024)
def gemv(tiles: int, rounds: int, words: int = 6) -> Kernel:
    """A matrix by a vector: ``rounds`` of 64 outputs a channel, ``tiles`` of 128 inputs."""
    rows = -(-tiles // 2) * _TILE_COLUMNS // COLUMNS

    def place(index: int) -> tuple[Phase, ...]:
        column = index * REGISTERS
        return gemv_round(
            tiles, index * rows, rounds * rows + column // COLUMNS, column % COLUMNS
        )

    return Kernel(words, rounds, gemv_round(tiles, 0, _ANY_ROW, 0), place)


@lru_cache(maxsize=64)
def _cleared() -> Step:
    """The first eight columns of the row of zeros, in every bank."""
    return tuple(
        each._replace(barrier=False)
        for bank in range(BANKS)
        for each in burst(True, bank, ZERO_ROW, 0)
    )


@lru_cache(maxsize=4096)
def _tree_tile(bank: int, row: int, result: int) -> Step:
    """A tile whose eight sums are stored at a column of odd banks, and cleared."""
    stored = burst(True, 1, result // COLUMNS, result % COLUMNS)
    return (*_gemv_tile(bank, row), *stored, *burst(False, 0, ZERO_ROW, 0))


@lru_cache(maxsize=1024)
def gemv_tree(tiles: int, rounds: int, words: int = 10) -> Kernel:
    """GEMV whose sums leave the blocks after each tile, even and odd banks in turn, so that the
    host can add them as a tree.
    """
    pairs = -(-tiles // 2)
    rows = pairs * _TILE_COLUMNS // COLUMNS

    def place(index: int) -> tuple[Phase, ...]:
        first = rounds * rows * COLUMNS + index * tiles * REGISTERS
        steps = [
            _tree_tile(
                tile % 2,
                index * rows + tile // 2 * _TILE_COLUMNS // COLUMNS,
                first + tile * REGISTERS,
            )
            for tile in range(tiles)
        ]
        return (Phase(write_mode("pim")), *map(Phase, steps), Phase(write_mode("all")))

    pair = (*_tree_tile(0, 0, _ANY_ROW * COLUMNS), *_tree_tile(1, 0, _ANY_ROW * COLUMNS))
    last = Phase(_tree_tile(0, 0, _ANY_ROW * COLUMNS))
    pattern = (
        Phase(write_mode("pim")),
        *((Phase(pair, tiles // 2),) if tiles > 1 else ()),
        *((last,) if tiles % 2 else ()),
        Phase(write_mode("all")),
    )
    return Kernel(words, rounds, pattern, place, _cleared())


def _elementwise(step: Step, tiles: int, words: int) -> Kernel:
    modes = Phase(write_mode("pim")), Phase(write_mode("all"))
    phases = (modes[0], *((Phase(step, tiles, REGISTERS),) if tiles else ()), modes[1])
    return Kernel(words, 1, phases, lambda _: phases)


@lru_cache(maxsize=64)
def _passes(rows: tuple[tuple[bool, int], ...]) -> Step:
    """One tile of an element-wise kernel: in even banks, then in odd ones, a pass over eight
    columns of each row, reading or writing.
    """
    step: list[Transaction] = []
    for bank in (0, 1):
        for write, row in rows:
            step += burst(write, bank, row, 0)
    return tuple(step)


def _rows(operands: tuple[int, ...]) -> Step:
    return _passes((*((False, row) for row in operands), (True, RESULT_ROW)))


@lru_cache(maxsize=1024)
def unary(tiles: int, words: int = 6) -> Kernel:
    """One operand, one result: RELU and the like."""
    return _elementwise(_rows((FIRST_ROW,)), tiles, words)


@lru_cache(maxsize=1024)
def binary(tiles: int, words: int = 8) -> Kernel:
    """Two operands, one result: ADD, MUL and the like."""
    return _elementwise(_rows((FIRST_ROW, SECOND_ROW)), tiles, words)


@lru_cache(maxsize=1024)
def ternary(tiles: int, words: int = 10) -> Kernel:
    """Three operands, one result: a product and a sum."""
    return _elementwise(_rows((FIRST_ROW, SECOND_ROW, THIRD_ROW)), tiles, words)


@lru_cache(maxsize=1024)
def cell(tiles: int, words: int = 12) -> Kernel:
    """Four operands, one result: two products and their sum, the cell of an LSTM."""
    step = _rows((FIRST_ROW, SECOND_ROW, THIRD_ROW, FOURTH_ROW))
    return _elementwise(step, tiles, words)


@lru_cache(maxsize=1024)
def scaled(tiles: int, rounds: int, words: int = 6) -> Kernel:
    """One operand, one result, and new scalars in the SRF for each round of tiles."""
    step = _rows((FIRST_ROW,))
    phases = (
        Phase(write_srf()),
        Phase(write_mode("pim")),
        Phase(step, tiles, REGISTERS),
        Phase(write_mode("all")),
    )

    def place(index: int) -> tuple[Phase, ...]:
        if index == 0:
            return phases
        first = index * tiles * REGISTERS
        moved = tuple(
            each._replace(
                row=each.row + (each.column + first) // COLUMNS,
                column=(each.column + first) % COLUMNS,
            )
            for each in step
        )
        return (*phases[:2], Phase(moved, tiles, REGISTERS), phases[3])

    return Kernel(words, rounds, phases, place)
