"""Joules and cycles of work on tiles and on the digital core beside them.

    tiles   = vectors * cycles of one MVM; all tiles of a node work at once, on the same vector
    cells   = vectors * weights * cells of a weight * energy of a cell
    dac     = vectors * (inputs, once for each block of columns) * slices * energy of a conversion
    adc     = vectors * (outputs, once for each block of rows) * slices * energy of a conversion
    digital = sums over blocks of rows, scales, biases, and everything that is no product
    dram    = activations in and out; weights do not move
    static  = device time * watts

Each figure's source is in the card's file; those of writes are the cell technology's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from host_daemon.core.device import NodeCost
from host_daemon.devices.nvm.analog.converters import ReadCounts
from host_daemon.devices.nvm.blocks import Grid
from host_daemon.devices.nvm.parameters import PAIR, NvmParameters


@dataclass(frozen=True, slots=True)
class Machine:
    """A VF: its card's figures, and what its tiles have together. Bytes are per cycle."""

    own: NvmParameters
    tiles: int
    card_tiles: int
    clock_hz: float
    bytes_per_cycle: float

    def on_tiles(self, grid: Grid, vectors: int, moved: int) -> NodeCost:
        """Vectors through the tiles of a matrix. ``moved`` are bytes of activations."""
        own = self.own
        mvm = math.ceil(own.tile.mvm_seconds * self.clock_hz)
        busy = vectors * mvm
        # Sums over blocks of rows, then a scale and a bias for each output.
        operations = vectors * (grid.partial_outputs + grid.outputs)
        digital = math.ceil(operations / (own.lanes * self.tiles))
        dma = math.ceil(moved / self.bytes_per_cycle)
        joules = self._conversions(grid, vectors)
        joules["digital"] = operations * own.energy.digital
        joules["dram"] = moved * own.energy.dram
        return NodeCost(
            place="tiles",
            # Sums and moves of one vector run beside the next vector's MVM.
            critical_cycles=own.node_cycles + max(busy + mvm if busy else 0, digital, dma),
            cycles=_busy(tiles=busy, digital=digital, dma=dma),
            bytes={"dram": moved} if moved else {},
            joules={name: value for name, value in joules.items() if value},
            macs=vectors * grid.useful,
        )

    def _conversions(self, grid: Grid, vectors: int) -> dict[str, float]:
        energy, slices = self.own.energy, self.own.tile.slices
        return {
            "cells": vectors * grid.cells * slices * PAIR * energy.cell,
            "dac": vectors * grid.conversions_in * slices * energy.dac,
            "adc": vectors * grid.partial_outputs * slices * energy.adc,
        }

    def on_digital(self, operations: int, moved: int, macs: int = 0) -> NodeCost:
        """What is no product with kept weights."""
        own = self.own
        digital = math.ceil(operations / (own.lanes * self.tiles))
        dma = math.ceil(moved / self.bytes_per_cycle)
        joules = {
            "digital": operations * own.energy.digital,
            "dram": moved * own.energy.dram,
        }
        return NodeCost(
            place="digital",
            critical_cycles=own.node_cycles + max(digital, dma),
            cycles=_busy(digital=digital, dma=dma),
            bytes={"dram": moved} if moved else {},
            joules={name: value for name, value in joules.items() if value},
            macs=macs,
        )

    def writing(self, seconds: float, joules: float, moved: int) -> NodeCost:
        """Programming: what write-verify took, and the weights on their way from memory."""
        cycles = math.ceil(seconds * self.clock_hz)
        dma = math.ceil(moved / self.bytes_per_cycle)
        spent = {"write": joules, "dram": moved * self.own.energy.dram}
        return NodeCost(
            place="tiles",
            critical_cycles=self.own.node_cycles + max(cycles, dma),
            cycles=_busy(write=cycles, dma=dma),
            bytes={"dram": moved} if moved else {},
            joules={name: value for name, value in spent.items() if value},
        )

    def reading(self, grid: Grid, counts: ReadCounts) -> NodeCost:
        """Reads of tiles for the device's own sake: calibration, and measuring errors."""
        per_tile = max(1, len(grid.blocks))
        vectors = math.ceil(counts.passes / per_tile)
        return self.on_tiles(grid, vectors, 0)

    def calibrating(self, grid: Grid, counts: ReadCounts, vectors: int) -> NodeCost:
        """Known vectors on tiles, and the same products in digital, to compare with."""
        tiles = self.reading(grid, counts)
        exact = self.on_digital(2 * vectors * grid.cells, 4 * grid.cells)
        return NodeCost(
            place="tiles",
            critical_cycles=max(tiles.critical_cycles, exact.critical_cycles),
            cycles={**tiles.cycles, **exact.cycles},
            bytes=exact.bytes,
            joules={
                name: tiles.joules.get(name, 0.0) + exact.joules.get(name, 0.0)
                for name in {*tiles.joules, *exact.joules}
            },
        )

    def busy_watts(self) -> float:
        """Static power of a VF that works: its tiles, and their share of what all share."""
        power = self.own.power
        return self.tiles * power.tile_active + power.shared * self.tiles / self.card_tiles

    def idle_watts(self) -> float:
        """Static power of a VF that has nothing to do. Weights stay without power."""
        power = self.own.power
        return self.tiles * power.tile_idle + power.shared * self.tiles / self.card_tiles


def _busy(**units: int) -> Mapping[str, int]:
    return {name: cycles for name, cycles in units.items() if cycles}


def in_turn(first: NodeCost, second: NodeCost) -> NodeCost:
    """Two things of one node, one after the other; the place is the first's."""

    def added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}

    return NodeCost(
        place=first.place,
        critical_cycles=first.critical_cycles + second.critical_cycles,
        cycles=added(first.cycles, second.cycles),
        bytes=added(first.bytes, second.bytes),
        joules=added(first.joules, second.joules),
        macs=first.macs + second.macs,
    )


def peak_operations(own: NvmParameters, tiles: int) -> float:
    """Operations per second, two a weight, with all tiles at work."""
    return 2.0 * own.tile.rows * own.tile.columns * tiles / own.tile.mvm_seconds


def mvm_joules(own: NvmParameters) -> float:
    """Dynamic energy of one MVM of a whole tile."""
    tile, energy = own.tile, own.energy
    cells = tile.rows * tile.columns * tile.slices * PAIR * energy.cell
    conversions = tile.slices * (tile.rows * energy.dac + tile.columns * energy.adc)
    return cells + conversions + 2 * tile.columns * energy.digital
