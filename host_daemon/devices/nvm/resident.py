"""One matrix of a program in its tiles: written once, multiplied often, watched as it ages."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import Operation
from host_daemon.devices.nvm.analog.converters import InputRange, Periphery, ReadCounts
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, Mapping
from host_daemon.devices.nvm.analog.snapshot import Snapshot
from host_daemon.devices.nvm.blocks import Block, Grid
from host_daemon.devices.nvm.matrix import rows_of
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.nvm.ranges import learned, test_vectors
from host_daemon.devices.nvm.store import TileRecord, generator
from vaccel.model import Array

Floats = NDArray[np.float32]

# Vectors that measure what error is to be expected: enough for a tenth of it, cheap to multiply.
_PROBES: Final = 64
# Vectors that a tile's gain is measured with.
CALIBRATION: Final = 64


@dataclass(slots=True)
class Placed:
    """A block in its tile, and what the tile reads as at the present time.

    ``edge`` is the card's, with the wires and the range of inputs that the node asks for.
    """

    block: Block
    record: TileRecord
    own: NvmParameters
    mapping: Mapping
    edge: Periphery
    snapshot: Snapshot | None = None

    def array(self) -> CrossbarArray:
        """What the tile keeps, read from its record: a copy, so hold it no longer than needed."""
        return CrossbarArray(
            self.own.tile.preset,
            self.edge,
            self.mapping,
            self.record.cells(self.block.rows, self.block.columns),
            self.record.record["scale"][0][: self.block.columns].copy(),
            int(self.record.get("clipped")),
        )

    def see(self, seed: bytes, now: float) -> Snapshot:
        """The tile as it reads at a time: drift, and the slow noise that its cells have then."""
        if self.snapshot is None:
            which = f"{self.record.get('owner_writes')} {now!r}".encode()
            rng = generator(seed, b"state", bytes(self.record.get("content")), which)
            self.snapshot = self.array().at(now, rng)
        return self.snapshot

    def take_range(self, limit: float) -> None:
        """Let the full scale of the DACs stand for another number."""
        self.edge = replace(self.edge, fixed_range=limit)
        if self.snapshot is not None:
            self.snapshot = replace(self.snapshot, periphery=self.edge)


@dataclass(slots=True)
class Resident:
    """A matrix that tiles keep. ``weights`` (inputs, outputs) float32 are as the program has them.

    ``bias`` is added in digital. ``most_error`` is the relative error that the program accepts, or
    None, and ``kept_at`` when it was last found kept; ``expected`` is the error measured last,
    for that or for the operator, at ``measured_at``. Both are on the card's clock.
    """

    name: str
    operation: Operation
    grid: Grid
    weights: Floats
    bias: Floats | None
    placed: list[Placed]
    seed: bytes
    most_error: float | None = None
    uses: int = 1
    launches: int = 0
    expected: float = math.nan
    measured_at: float = math.nan
    kept_at: float = math.nan
    counts: ReadCounts = field(default_factory=ReadCounts)
    driven: int = 0  # inputs that DACs converted for launches
    ranged: bool = False  # whether a calibrated range is from data yet

    # --- time -------------------------------------------------------------------------------

    def settle(self, now: float) -> None:
        """See every tile as it is at a time. O(cells), once for each time."""
        for each in self.placed:
            each.see(self.seed, now)

    def stale(self) -> None:
        """The clock has moved, or cells have been written."""
        for each in self.placed:
            each.snapshot = None
        self.measured_at = self.kept_at = math.nan

    @property
    def quick(self) -> bool:
        """Whether looking at its tiles takes no exact solution of their wires first."""
        return not any(each.edge.exact_wires and each.snapshot is None for each in self.placed)

    def measured(self, now: float) -> bool:
        """Whether the expected error is known for this time."""
        return self.measured_at == now

    # --- products ---------------------------------------------------------------------------

    def launch(self, operation: Operation, data: Array, bias: Floats | None, now: float) -> Array:
        """Products of a launch's vectors, with what its noise draws. Raises InvalidArgument."""
        self.settle(now)
        rows = rows_of(operation, data)
        self._take_range(data)
        result = np.empty((rows.count, self.grid.outputs), np.float32)
        rng = generator(
            self.seed, b"read", self.name.encode(), self.launches.to_bytes(8, "little")
        )
        self.launches += 1
        counts = ReadCounts()
        for place, vectors in rows.pieces:
            result[place], taken = self._multiply(vectors, rng)
            counts += taken
        self.counts += counts
        self.driven += rows.count * sum(each.block.rows for each in self.placed)
        if bias is not None:
            result += bias
        return rows.finish(result)

    def _multiply(self, vectors: Array, rng: np.random.Generator) -> tuple[Floats, ReadCounts]:
        """Each block's products, compensated and summed in digital, in float32."""
        total = np.zeros((len(vectors), self.grid.outputs), np.float32)
        counts = ReadCounts()
        for each in self.placed:
            assert each.snapshot is not None  # settled
            block = each.block
            part, taken = each.snapshot.mvm(vectors[:, block.inputs], rng)
            factor = np.float32(each.record.get("factor"))
            if factor != 1:
                part *= factor
            total[:, block.outputs] += part
            counts += taken
        return total, counts

    def probe(self, now: float) -> tuple[float, ReadCounts]:
        """Measure the error to be expected of normal inputs, relative to exact products' rms.

        The same vectors each time, so that only the tiles make a difference.
        """
        self.settle(now)
        rng = generator(self.seed, b"probe", self.name.encode())
        vectors = test_vectors(rng, _PROBES, self.grid.inputs, self.edge)
        exact = vectors @ self.weights
        given, counts = self._multiply(vectors, rng)
        size = float(np.sqrt(np.mean(np.square(exact, dtype=np.float64))))
        error = float(np.sqrt(np.mean(np.square(given - exact, dtype=np.float64))))
        self.expected = error / size if size else error
        self.measured_at = now
        return self.expected, counts

    # --- range of inputs --------------------------------------------------------------------

    @property
    def edge(self) -> Periphery:
        """Of all its tiles: one range of inputs, one way to solve wires."""
        return self.placed[0].edge

    def _take_range(self, data: Array) -> None:
        """Set a calibrated range by the activations of the first launch that has any."""
        if self.ranged or self.edge.input_range is not InputRange.CALIBRATED:
            return
        limit = learned(data)
        if limit is not None:
            for each in self.placed:
                each.take_range(limit)
            self.ranged = True

    # --- calibration ------------------------------------------------------------------------

    def recalibrate(self, now: float, tiles: Container[int] | None = None) -> ReadCounts:
        """Multiply known vectors on each tile and in digital, and undo the mean of what is lost.

        The factor is ``sum(exact^2) / sum(given * exact)``: the gain alone, since what is not
        proportional to the exact product averages out. (One-hot vectors, as in Joshi et al. 2020,
        read single weights, of which the small ones vanish in an ADC made for whole sums.)
        ``tiles`` are those to do, all where None.
        """
        counts = ReadCounts()
        for each in self.placed:
            if tiles is not None and each.record.number not in tiles:
                continue
            rng = generator(self.seed, b"calibrate", bytes(each.record.get("content")))
            vectors = test_vectors(rng, CALIBRATION, each.block.rows, each.edge)
            exact = (vectors @ self.weights[each.block.inputs, each.block.outputs]).astype(float)
            given, taken = each.see(self.seed, now).mvm(vectors, rng)
            counts += taken
            both = float(np.sum(given * exact))
            size = float(np.sum(exact * exact))
            each.record.put(factor=size / both if both > 0 else 1.0, calibrated_at=now)
        self.measured_at = self.kept_at = math.nan
        return counts

    @property
    def clipped(self) -> int:
        """Weights beyond the range that the program set."""
        return sum(int(each.record.get("clipped")) for each in self.placed)

