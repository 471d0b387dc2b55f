"""Where data lies in the banks, and the way there and back.

Banks are arrays [channels, 16 banks, columns, 16 lanes] of halves; a column is a burst, 32 of them
a row.

Weights of GEMV: output n is accumulator o of block b of channel c in round j, with
n = ((j * channels + c) * 8 + b) * 8 + o; input k is lane l of burst i of tile t, with
k = (t * 8 + i) * 16 + l. It lies in bank 2b + t mod 2, column ((j * R + t div 2) * 8 + i) * 8 + o,
where R is half the number of tiles, rounded up. This is what lets one read feed all accumulators of
a block in turn, and one write of GRF_A serve a tile.

Vectors of element-wise kernels: linear, burst by burst over channels, then banks, then columns, as
ordinary addresses are interleaved: they need no conversion.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from host_daemon.devices.pim.hbm.fp16 import Half
from host_daemon.devices.pim.hbm.kernels import (
    BLOCKS,
    LANES,
    TILE_ELEMENTS,
    TILE_INPUTS,
    TILE_OUTPUTS,
)
from host_daemon.devices.pim.hbm.timing import BANKS
from host_daemon.devices.pim.hbm.transactions import REGISTERS
from vaccel.errors import InvalidArgument

# Gates of an LSTM.
GATES: Final = 4


def gemv_size(outputs: int, inputs: int, channels: int) -> tuple[int, int]:
    """(tiles of inputs, rounds of outputs) that a matrix is padded to."""
    return -(-inputs // TILE_INPUTS), -(-outputs // (TILE_OUTPUTS * channels))


def gemv_to_banks(weights: Half, channels: int) -> Half:
    """[outputs, inputs] into the banks, zeros where either runs out."""
    outputs, inputs = weights.shape
    tiles, rounds = gemv_size(outputs, inputs, channels)
    pairs = -(-tiles // 2)
    padded = np.zeros((rounds * channels * TILE_OUTPUTS, pairs * 2 * TILE_INPUTS), np.float16)
    padded[:outputs, :inputs] = weights
    parts = padded.reshape(
        rounds, channels, BLOCKS, REGISTERS, pairs, 2, REGISTERS, LANES
    ).transpose(1, 2, 5, 0, 4, 6, 3, 7)
    return np.ascontiguousarray(parts).reshape(channels, BANKS, -1, LANES)


def gemv_from_banks(banks: Half, outputs: int, inputs: int) -> Half:
    """The way back: [outputs, inputs]. Raises InvalidArgument where the banks hold another size."""
    channels = len(banks)
    tiles, rounds = gemv_size(outputs, inputs, channels)
    pairs = -(-tiles // 2)
    expected = channels, BANKS, rounds * pairs * REGISTERS * REGISTERS, LANES
    _expect(banks, expected, f"weights of {outputs} outputs and {inputs} inputs")
    parts = banks.reshape(
        channels, BLOCKS, 2, rounds, pairs, REGISTERS, REGISTERS, LANES
    ).transpose(3, 0, 1, 6, 4, 2, 5, 7)
    whole = parts.reshape(rounds * channels * TILE_OUTPUTS, pairs * 2 * TILE_INPUTS)
    return np.ascontiguousarray(whole[:outputs, :inputs])


def accumulators_from_banks(odd_banks: Half, outputs: int) -> Half:
    """Results that blocks stored in their odd banks, [channels, 8, rounds * 8, 16], as
    [outputs, 16].
    """
    channels = len(odd_banks)
    rounds = -(-outputs // (TILE_OUTPUTS * channels))
    expected = (channels, BLOCKS, rounds * REGISTERS, LANES)
    _expect(odd_banks, expected, f"accumulators of {outputs} outputs")
    parts = odd_banks.reshape(channels, BLOCKS, rounds, REGISTERS, LANES)
    return np.ascontiguousarray(parts.transpose(2, 0, 1, 3, 4)).reshape(-1, LANES)[:outputs]


def vector_size(elements: int, channels: int) -> int:
    """Tiles that a vector is padded to."""
    return -(-elements // (TILE_ELEMENTS * channels))


def lstm_size(inputs: int, hidden: int, channels: int, batch: int = 1) -> tuple[int, int, int]:
    """Of a step of an LSTM: (tiles, rounds) of the GEMV of all gates, for one of the batch, and
    tiles of a vector of states.
    """
    tiles, rounds = gemv_size(GATES * hidden, inputs + hidden, channels)
    return tiles, rounds, vector_size(batch * hidden, channels)


def vector_to_banks(values: Half, channels: int) -> Half:
    """Any shape, flat, into the banks, zeros where it runs out."""
    tiles = vector_size(values.size, channels)
    padded = np.zeros(tiles * TILE_ELEMENTS * channels, np.float16)
    padded[: values.size] = values.ravel()
    parts = padded.reshape(tiles * REGISTERS, BANKS, channels, LANES)
    return np.ascontiguousarray(parts.transpose(2, 1, 0, 3))


def vector_from_banks(banks: Half, elements: int) -> Half:
    """The way back, flat. Raises InvalidArgument where the banks hold another size."""
    channels = len(banks)
    columns = vector_size(elements, channels) * REGISTERS
    _expect(banks, (channels, BANKS, columns, LANES), f"a vector of {elements} elements")
    return np.ascontiguousarray(banks.transpose(2, 1, 0, 3)).ravel()[:elements]


def _expect(banks: Half, shape: tuple[int, ...], what: str) -> None:
    if banks.shape != shape:
        raise InvalidArgument(
            f"layout: {what} lie in banks of shape {list(shape)}, given is {list(banks.shape)}",
            hint=f"{math.prod(shape)} halves by channel, bank, column and lane",
        )
