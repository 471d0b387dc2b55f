"""What one VF owns of an NVM card: tiles that keep weights and multiply, and a digital core."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from host_daemon.core.device import ANALOG, ARITHMETIC, Card, NodeCost, NoRoom, Operation
from host_daemon.core.lasting import Life
from host_daemon.devices.lowering import lower
from host_daemon.devices.nvm import health, matrix, promise, snapshots
from host_daemon.devices.nvm.blocks import Grid, cut
from host_daemon.devices.nvm.costs import Costs
from host_daemon.devices.nvm.energy import Machine, in_turn
from host_daemon.devices.nvm.matrix import BIAS, WEIGHTS, matrix_shape
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.nvm.promise import most_error
from host_daemon.devices.nvm.resident import CALIBRATION, Floats, Resident
from host_daemon.devices.nvm.store import record_bytes
from host_daemon.devices.nvm.tiles import Tiles
from host_daemon.devices.nvm.writing import Writer
from host_daemon.devices.state import pack, unpack
from host_daemon.devices.work import size, work
from vaccel.errors import InvalidArgument, Unsupported, WrongState
from vaccel.inventory import Condition
from vaccel.model import Array, Cost, DType, Profile

_NO_SEED = bytes(32)
# What a node may state as its arithmetic beside ``analog``: that of the digital core.
DIGITAL: Final = "fp32"


class NvmDevice:
    """The model of a profile. Until ``begin`` its cells are its own, new and gone with it."""

    def __init__(self, card: Card, profile: Profile) -> None:
        if not isinstance(card.parameters, NvmParameters):
            raise InvalidArgument(f"card {card.name} is of kind {card.kind!r}, not nvm")
        self.card = card
        self.profile = profile
        self._own: NvmParameters = card.parameters
        bus = profile.bandwidth_bytes_per_second / card.clock_hz * self._own.efficiency
        self._machine = Machine(self._own, profile.cores, card.cores, card.clock_hz, bus)
        self._costs = Costs(self._own, self._machine)
        self._residents: dict[str, Resident] = {}
        self._spilled: dict[str, str] = {}  # why not, by what had no room
        self._now = 0.0
        self._seed = _NO_SEED
        self._spent: list[NodeCost] = []
        self._tiles_made: Tiles | None = None

    # --- the port: what it is -----------------------------------------------------------------

    @property
    def clock_hz(self) -> float:
        """The clock of all cycles here."""
        return self.card.clock_hz

    @property
    def arithmetic(self) -> Sequence[str]:
        """Tiles compute in analog; the digital core in fp32."""
        return self.card.arithmetic

    @property
    def idle_watts(self) -> float:
        """What this VF draws while it has nothing to do; its weights need none."""
        return self._machine.idle_watts()

    def cost(self, operation: Operation) -> NodeCost:
        """The closed form: in tiles where the weights are kept there, else on the digital core.

        Raises InvalidArgument where shapes do not fit, Unsupported for a stated arithmetic that
        is not of the place.
        """
        grid = self._grid(operation) if operation.resident else None
        if grid is not None:
            vectors = matrix.vectors_of(operation)
            lower(operation, (1, 1))  # refuses shapes that do not multiply
            moved = size(operation.inputs[0]) + sum(size(each) for each in operation.outputs)
            return self._machine.on_tiles(grid, vectors, moved)
        asked = operation.attributes.get(ARITHMETIC, DIGITAL)
        if asked != DIGITAL:
            raise Unsupported(
                f"{operation.op}: {ARITHMETIC} = {str(asked)[:80]!r}, but no tile holds its matrix",
                hint=f"{ANALOG} needs constant weights that fit the VF's tiles; the rest is fp32",
            )
        lowered, plain = lower(operation, (1, 1)), work(operation)
        moved = plain.bytes_read + plain.bytes_written
        if lowered is None:
            return self._machine.on_digital(plain.operations, moved)
        # Lanes are 32 bits wide: a 64-bit multiply takes four of their products.
        wide = 4 if lowered.operand in (DType.FLOAT64, DType.INT64, DType.UINT64) else 1
        operations = 2 * wide * lowered.macs + lowered.epilogue
        return self._machine.on_digital(operations, moved, lowered.macs)

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        """Nodes in order, launch overhead, and static energy over the device time of both."""
        return self._costs.launch(nodes)

    # --- the port: weights --------------------------------------------------------------------

    def computes(self, operation: Operation) -> bool:
        """Products with constant weights of which there are tiles enough."""
        return self._grid(operation) is not None

    def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
        """Write a matrix into tiles. Raises InvalidArgument naming a weight that is no number,
        NoRoom where other weights take the tiles, Exhausted where those left take no more writes
        or the write budget does not suffice, Unsupported where no tile can
        keep the error that the node demands.
        """
        shape = matrix_shape(operation)
        if shape is None or WEIGHTS not in weights:
            return None
        tile = self._own.tile
        grid = cut(shape.inputs, shape.outputs, shape.groups, tile.rows, tile.columns)
        known = self._residents.get(operation.resident)
        values = np.ascontiguousarray(matrix.matrix(operation, weights[WEIGHTS]), np.float32)
        if known is not None:
            if np.array_equal(known.weights, values):
                known.uses += 1
                return self._machine.writing(0.0, 0.0, 0)
            self._forget(known)
        demanded = most_error(operation)
        try:
            placed, written = self._writer.place(operation, grid, values, self._now)
        except NoRoom as full:
            self._spilled[operation.resident] = full.message
            raise
        resident = Resident(
            name=operation.resident,
            operation=operation,
            grid=grid,
            weights=values,
            bias=_bias(operation, weights.get(BIAS)),
            placed=placed,
            seed=self._seed,
            most_error=demanded,
        )
        self._residents[operation.resident] = resident
        cost = self._machine.writing(written.seconds, written.joules, values.nbytes)
        try:
            counts = resident.recalibrate(self._now, written.tiles)
            if demanded is not None:
                self._keep_promise(resident)
        except BaseException:
            self._forget(resident)
            raise
        return in_turn(cost, self._machine.calibrating(grid, counts, CALIBRATION))

    def drop(self, resident: str) -> None:
        """Forget a matrix; its cells stay as they are until they are needed."""
        self._spilled.pop(resident, None)
        known = self._residents.get(resident)
        if known is not None:
            known.uses -= 1
            if known.uses == 0:
                self._forget(known)

    def _forget(self, resident: Resident) -> None:
        self._writer.release(resident.placed)
        self._residents.pop(resident.name, None)

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """Multiply on tiles; None for what no tile holds.

        Raises InvalidArgument for inputs that are no numbers, Unsupported where the demanded error
        cannot be kept any more.
        """
        resident = self._residents.get(operation.resident) if operation.resident else None
        data = inputs[0] if inputs else None
        if resident is None or data is None:
            return None
        if resident.most_error is not None and resident.kept_at != self._now:
            self._keep_promise(resident)
        bias = resident.bias
        if bias is None and len(inputs) > BIAS and inputs[BIAS] is not None:
            bias = _bias(operation, inputs[BIAS])
        result = resident.launch(operation, data, bias, self._now)
        return [np.ascontiguousarray(result).astype(data.dtype, copy=False)]

    # --- the port: state ----------------------------------------------------------------------

    def save(self) -> bytes:
        """The cells of all tiles, and the clock. Raises Exhausted past DEVICE_STATE_BYTES."""
        return pack(self.card, self.profile, snapshots.encode(self._tiles, self._now))

    def restore(self, state: bytes) -> None:
        """Take over cells. Their age stays, wear is this card's own. Raises InvalidArgument."""
        body = unpack(state, self.card, self.profile)
        if self._residents:
            raise WrongState(
                f"device state: {len(self._residents)} matrices are in use",
                hint="restore it before programs are loaded",
            )
        snapshots.decode(body, self._tiles, self._now)

    # --- cells that remember ------------------------------------------------------------------

    def begin(self, life: Life) -> None:
        """Take over the VF's cells. Raises InvalidArgument where they are of another card."""
        wanted = self.profile.cores * record_bytes(self._own.tile)
        if len(life.cells) != wanted or len(life.seed) != 32:
            raise InvalidArgument(
                f"cells of {self.card.name}: {len(life.cells)} bytes and a seed of"
                f" {len(life.seed)}, but profile {self.profile.name} has {wanted} and 32"
            )
        self._seed, self._now = life.seed, life.clock_seconds
        self._tiles_made = Tiles(life.cells, self.profile.cores, self._own, life.seed)
        for record in self._tiles_made.all:
            record.check(self.card.name)

    def set_clock(self, seconds: float) -> None:
        """Move the clock: every tile is another hour older, or another year."""
        if not math.isfinite(seconds) or seconds < self._now:
            raise InvalidArgument(
                f"clock = {seconds!r} s is before {self._now} s",
                hint="a clock of cells goes forward only",
            )
        if seconds != self._now:
            self._now = seconds
            for resident in self._residents.values():
                resident.stale()

    def recalibrate(self) -> Cost:
        """Read every matrix in use against what was read when it was written, and scale it back."""
        nodes = []
        for resident in self._residents.values():
            resident.ranged = False  # a calibrated range of inputs is that of the next launch
            counts = resident.recalibrate(self._now)
            nodes.append(self._machine.calibrating(resident.grid, counts, CALIBRATION))
        return self._costs.plain(nodes)

    def upkeep(self) -> Cost | None:
        """What keeping demanded errors has cost since this was last asked."""
        spent, self._spent = self._spent, []
        return self._costs.plain(spent) if spent else None

    def condition(self) -> Sequence[Condition]:
        """Age, calibration, expected error, wear, budget, faults."""
        found = health.of_vf(
            self._tiles, self._residents.values(), self._writer.budget, self._now, self._spilled
        )
        return tuple(found)

    @property
    def tiles_in_use(self) -> int:
        """Tiles whose weights programs use now."""
        return len(self._tiles.taken)

    # --- helpers ------------------------------------------------------------------------------

    @property
    def _tiles(self) -> Tiles:
        if self._tiles_made is None:
            own = memoryview(bytearray(self.profile.cores * record_bytes(self._own.tile)))
            self._tiles_made = Tiles(own, self.profile.cores, self._own, self._seed)
        return self._tiles_made

    @property
    def _writer(self) -> Writer:
        return Writer(self._tiles, self._own, self._seed, self.profile.name)

    def _grid(self, operation: Operation) -> Grid | None:
        """How a node's matrix is cut, where it has one and there are tiles enough."""
        shape = matrix_shape(operation)
        if shape is None or operation.attributes.get(ARITHMETIC, ANALOG) != ANALOG:
            return None
        tile = self._own.tile
        grid = cut(shape.inputs, shape.outputs, shape.groups, tile.rows, tile.columns)
        return grid if len(grid.blocks) <= self.profile.cores else None

    def _keep_promise(self, resident: Resident) -> None:
        spent = promise.keep(resident, self._writer, self._machine, self._now)
        self._spent.extend(spent)


def _bias(operation: Operation, values: Array | None) -> Floats | None:
    """What is added to each output in digital, float32."""
    if values is None:
        return None
    beta = np.float32(operation.attributes.get("beta", 1.0)) if operation.op == "Gemm" else 1
    return np.asarray(values, np.float32) * beta
