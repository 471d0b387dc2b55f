"""Putting a matrix into tiles: what is there already stays, what differs is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from host_daemon.core.device import EXACT, SOLUTIONS, WEIGHT_LIMIT, WIRES, Operation
from host_daemon.devices.nvm.analog.converters import Periphery
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, finite
from host_daemon.devices.nvm.analog.crossbar import Mapping as WeightMapping
from host_daemon.devices.nvm.blocks import Block, Grid
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.nvm.ranges import asked as asked_range
from host_daemon.devices.nvm.resident import Placed
from host_daemon.devices.nvm.store import WRITING, WRITTEN, TileRecord, generator, sha256
from host_daemon.devices.nvm.tiles import Tiles
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, Unsupported
from vaccel.model import Array


@dataclass(frozen=True, slots=True)
class Written:
    """What writing took, and which tiles were written.

    ``seconds`` is of the slowest tile: each has write drivers of its own.
    """

    rows: int = 0
    cells: int = 0
    missed: int = 0
    seconds: float = 0.0
    joules: float = 0.0
    tiles: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Budget:
    """How many rows a VF may write, and has."""

    rows: int
    used: int
    profile: str

    def check(self, rows: int) -> None:
        """Raise Exhausted, naming budget and use, where so many more are too many."""
        if self.used + rows > self.rows:
            raise Exhausted(
                f"write budget of {self.profile} is {self.rows} rows: {self.used} are used, and"
                f" these weights need up to {rows} more",
                hint="load programs less often, or ask the operator for a profile that may write"
                " more",
            )


class Writer:
    """Writes for one VF, into its tiles, with chance from its seed."""

    def __init__(self, tiles: Tiles, own: NvmParameters, seed: bytes, profile: str) -> None:
        self._tiles = tiles
        self._own = own
        self._seed = seed
        self._profile = profile

    @property
    def budget(self) -> Budget:
        """What the profile allows, and what this VF has written since the tiles are its."""
        every = self._own.rewrites[self._profile] * self._own.tile.rows * len(self._tiles.all)
        used = sum(int(record.get("owner_writes")) for record in self._tiles.all)
        return Budget(every, used, self._profile)

    def place(
        self, operation: Operation, grid: Grid, weights: Array, now: float
    ) -> tuple[list[Placed], Written]:
        """Put a matrix (inputs, outputs) into tiles and take them.

        Raises InvalidArgument naming a weight that is no number, Exhausted where tiles or the
        write budget do not suffice; then nothing has been written.
        """
        matrix = finite(weights, f"weights of {operation.resident}")
        mapping, edge = self._mapping(operation), self._edge(operation)
        parts = [matrix[block.inputs, block.outputs] for block in grid.blocks]
        node = operation.resident.rpartition("/")[2].encode()
        labels = [sha256(b"label", node, repr(block).encode()) for block in grid.blocks]
        contents = [sha256(repr((part.shape, mapping)).encode(), part.tobytes()) for part in parts]
        records = self._tiles.choose(labels, contents)
        fresh = [not _holds(r, c) for r, c in zip(records, contents, strict=True)]
        need = sum(len(part) for part, new in zip(parts, fresh, strict=True) if new)
        self.budget.check(need)
        placed, written = [], Written()
        for index, block in enumerate(grid.blocks):
            record = records[index]
            if fresh[index]:
                # Not whole until its state says so: a worker that ends now leaves nothing to find.
                whole = int(record.get("state")) == WRITING
                record.put(
                    state=WRITING, label=_void(labels[index]), content=_void(contents[index])
                )
                took = self._write(record, block, parts[index], mapping, now, whole)
                written = _sum(written, took)
            each = Placed(block, record, self._own, mapping, edge)
            self._tiles.taken.add(record.number)
            placed.append(each)
        return placed, written

    def refresh(self, placed: Sequence[Placed], weights: Array, now: float) -> Written:
        """Write every cell again, as if for the first time. Raises Exhausted; see ``place``."""
        self.budget.check(sum(each.block.rows for each in placed))
        for each in placed:
            if each.record.worn_out:
                raise Exhausted(
                    f"tile {each.record.number} is worn out: {each.record.get('worst')} writes of"
                    f" {self._own.tile.endurance}",
                    hint="ask the operator for a VF on other tiles",
                )
        written = Written()
        for each in placed:
            part = weights[each.block.inputs, each.block.outputs]
            each.record.put(state=WRITING)
            took = self._write(each.record, each.block, part, each.mapping, now, whole=True)
            each.snapshot = None
            written = _sum(written, took)
        return written

    def release(self, placed: Sequence[Placed]) -> None:
        """The tiles are free; what is in them stays until it is written over or erased."""
        self._tiles.taken -= {each.record.number for each in placed}

    # --- helpers ----------------------------------------------------------------------------

    def _mapping(self, operation: Operation) -> WeightMapping:
        limit = operation.attributes.get(WEIGHT_LIMIT)
        if limit is None:
            return self._own.tile.mapping
        try:
            value = float(limit)
        except (TypeError, ValueError):
            value = -1.0
        if not 0 < value < float("inf"):
            raise InvalidArgument(
                f"{operation.op}: {WEIGHT_LIMIT} = {str(limit)[:80]!r}", hint="a positive number"
            )
        return replace(self._own.tile.mapping, limit=value)

    def _edge(self, operation: Operation) -> Periphery:
        """The card's edge as the node asks for it. Raises InvalidArgument, Unsupported."""
        tile, edge = self._own.tile, asked_range(operation, self._own.periphery)
        asked = operation.attributes.get(WIRES)
        if asked not in (None, *SOLUTIONS):
            raise InvalidArgument(
                f"{operation.op}: {WIRES} = {str(asked)[:80]!r}", hint=" or ".join(SOLUTIONS)
            )
        exact = edge.exact_wires if asked is None else asked == EXACT
        if exact and tile.rows * tile.columns > bounds.EXACT_WIRES_CELLS:
            raise Unsupported(
                f"{operation.op}: {WIRES} = {EXACT} on tiles of {tile.rows} x {tile.columns}",
                hint=f"up to {bounds.EXACT_WIRES_CELLS} cells an array are solved exactly",
            )
        return replace(edge, exact_wires=exact)

    def _write(
        self,
        record: TileRecord,
        block: Block,
        part: Array,
        mapping: WeightMapping,
        now: float,
        whole: bool = False,
    ) -> Written:
        tile = self._own.tile
        whole = whole or record.full_of_times(now)
        count = int(record.get("owner_writes")).to_bytes(8, "little")
        rng = generator(self._seed, b"write", record.number.to_bytes(4, "little"), count)
        array, report = CrossbarArray.program(
            part,
            tile.preset,
            self._own.periphery,
            mapping,
            rng,
            now,
            cells=record.cells(block.rows, block.columns),
            only_changed=not whole,
        )
        rows = record.write(array.cells, report, now)
        scale = np.zeros(tile.columns, np.float32)
        scale[: block.columns] = array.scale
        record.put(
            scale=scale,
            clipped=array.clipped,
            used=(block.rows, block.columns),
            factor=1.0,
            state=WRITTEN,
        )
        record.put(calibrated_at=now)
        return Written(
            rows,
            report.cells,
            report.missed,
            report.seconds,
            report.joules,
            frozenset({record.number}),
        )


def _holds(record: TileRecord, content: bytes) -> bool:
    return int(record.get("state")) == WRITTEN and bytes(record.get("content")) == content


def _void(data: bytes) -> np.void:
    return np.void(data.ljust(32, b"\0"))


def _sum(total: Written, more: Written) -> Written:
    return Written(
        total.rows + more.rows,
        total.cells + more.cells,
        total.missed + more.missed,
        max(total.seconds, more.seconds),
        total.joules + more.joules,
        total.tiles | more.tiles,
    )
