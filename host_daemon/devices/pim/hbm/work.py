"""From ONNX operations to kernels of the banks, and the host's work around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from host_daemon.core.device import Operation
from host_daemon.devices.lowering import lower
from host_daemon.devices.pim.hbm import kernels, long, program
from host_daemon.devices.pim.hbm.kernels import BLOCKS, LANES
from host_daemon.devices.pim.hbm.layout import GATES, gemv_size, lstm_size, vector_size
from host_daemon.devices.pim.hbm.schedule import Spent
from host_daemon.devices.pim.hbm.timing import BURST_BYTES, Timing
from host_daemon.devices.pim.hbm.transactions import NO_MEMORY
from host_daemon.devices.work import elements, size
from vaccel.model import DType, Shape

HALF: Final = 2
# Lane operations of the host for one value of an LSTM's state: five transcendentals of ten, as
# ``devices/lowering.py`` counts them, and four biases.
_ACTIVATIONS: Final = 54
# Values of the state that cross the bus beside the gates: c read, tanh(c) written, h read.
_STATES: Final = 3
# Tiles of a kernel up to which its time is the state machine's: milliseconds when first asked.
_EXACT: Final = 2048


@dataclass(frozen=True, slots=True)
class Kernels:
    """``times`` kernels of one shape in a row: ``name``, tiles and rounds a channel."""

    name: str
    tiles: int
    rounds: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """Kernels in order; the host's lane operations and bytes over the bus that come with them;
    useful MACs; and what part of the bytes is layout change.
    """

    kernels: tuple[Kernels, ...]
    operations: int
    moved: int
    macs: int
    layout: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """What a kernel takes of one channel, beside ``spent``: bursts between each of eight banks and
    its block, and bursts on the bus.
    """

    spent: Spent
    inside: int
    bus: int


_KERNELS: Final[Mapping[str, Callable[[int, int], kernels.Kernel]]] = {
    "gemv": lambda tiles, rounds: kernels.gemv(tiles, rounds, len(program.gemv(tiles))),
    "add": lambda tiles, _: kernels.binary(tiles, len(program.binary("ADD", tiles))),
    "mul": lambda tiles, _: kernels.binary(tiles, len(program.binary("MUL", tiles))),
    "mad": lambda tiles, _: kernels.ternary(tiles, len(program.fused(tiles))),
    "cell": lambda tiles, _: kernels.cell(tiles, len(program.cell(tiles))),
    "relu": lambda tiles, _: kernels.unary(tiles, len(program.relu(tiles))),
}


@lru_cache(maxsize=4096)
def counted(name: str, tiles: int, rounds: int, timing: Timing) -> Counted:
    """A kernel's cycles and commands on a channel: the state machine's, looked up."""
    kernel = _KERNELS[name](tiles, rounds)
    inside = bus = 0
    for phase in kernel.pattern:
        memory = sum(not each.row & NO_MEMORY for each in phase.step)
        inside += phase.count * memory
        bus += phase.count * (len(phase.step) - memory)
    spent = long.spent(_KERNELS[name], tiles, rounds, timing, _EXACT)
    ends = sum(1 for _ in kernels.Kernel(kernel.words, 0, kernel.pattern, kernel.place))
    return Counted(spent, inside * rounds, bus * rounds + ends)


def inside_accesses(of: Counted) -> int:
    """Accesses of single banks in all-bank mode."""
    return of.inside * BLOCKS


def work(operation: Operation, channels: int, rows: int) -> Work | None:
    """What banks and host do for an operation; None where the banks have no way to do it.

    Raises InvalidArgument naming shapes that do not fit.
    """
    if operation.domain not in ("", "ai.onnx"):
        return None
    if operation.op in ("MatMul", "Gemm"):
        return _product(operation, channels, rows)
    if operation.op in ("Add", "Mul", "Relu"):
        return _elementwise(operation, channels)
    if operation.op == "BatchNormalization":
        return _normalisation(operation, channels)
    return _lstm(operation, channels, rows) if operation.op == "LSTM" else None


def _shape(operation: Operation, index: int) -> Shape:
    found = operation.inputs[index] if index < len(operation.inputs) else None
    return found[1] if found else ()


def product_shape(operation: Operation) -> tuple[int, int, int] | None:
    """(rows, inputs, outputs) of a product with one right matrix; None of any other."""
    left, right = _shape(operation, 0), _shape(operation, 1)
    if not left or not 1 <= len(right) <= 2:
        return None
    if operation.op == "Gemm":
        if len(left) != 2 or len(right) != 2:
            return None
        rows, inputs = left[::-1] if operation.attributes.get("transA") else left
        return rows, inputs, right[0 if operation.attributes.get("transB") else 1]
    return math.prod(left[:-1]), left[-1], right[-1] if len(right) > 1 else 1


def _gemv(rows: int, inputs: int, outputs: int, channels: int, times: int = 1) -> Kernels:
    tiles, rounds = gemv_size(outputs, inputs, channels)
    return Kernels("gemv", tiles, rounds * rows, times)


def _product(operation: Operation, channels: int, rows: int) -> Work | None:
    lower(operation, (1, 1))  # refuses shapes that do not fit
    found = product_shape(operation)
    if found is None or not 0 < found[0] <= rows or 0 in found or min(found) < 0:
        return None
    count, inputs, outputs = found
    results = count * outputs
    extra = 3 * results if operation.op == "Gemm" else 0
    layout = _layout(operation, (1,))
    # Results are read as 16 lanes each, and written once added up.
    moved = size(operation.inputs[0]) + results * (BURST_BYTES + HALF) + layout
    kernel = _gemv(count, inputs, outputs, channels)
    return Work((kernel,), LANES * results + extra, moved, count * inputs * outputs, layout)


def _layout(operation: Operation, weights: tuple[int, ...]) -> int:
    """Bytes that weights cross the bus for, twice, to be laid out; those of the program lie so."""
    found = 0
    for index in weights:
        given = operation.inputs[index] if index < len(operation.inputs) else None
        if index not in operation.constant_inputs and given is not None:
            found += size(given) + elements(given) * HALF
    return found


def _elementwise(operation: Operation, channels: int) -> Work | None:
    given = [each for each in operation.inputs if each is not None]
    count = elements(given[0]) if given else 0
    expected = 1 if operation.op == "Relu" else 2
    same = len({each[1] for each in given}) == 1
    if count <= 0 or len(given) != expected or not same:
        return None
    tiles = vector_size(count, channels)
    return Work((Kernels(operation.op.lower(), tiles, 1),), 0, _widened(operation), 0)


def _widened(operation: Operation) -> int:
    """Bytes that change format on their way into banks of halves and out, float32 beside."""
    given = [each for each in (*operation.inputs, *operation.outputs) if each]
    return sum(size(each) + elements(each) * HALF for each in given if each[0] != DType.FLOAT16)


def _normalisation(operation: Operation, channels: int) -> Work | None:
    count = elements(operation.inputs[0]) if operation.inputs else 0
    training = operation.attributes.get("training_mode")
    if count <= 0 or training or len(_shape(operation, 0)) < 2 or len(operation.inputs) != 5:
        return None
    # Scale and shift lie in the banks as long as the data, written when the program was loaded.
    layout = 0 if operation.constant_inputs >= {1, 2, 3, 4} else 2 * count * HALF
    tiles = vector_size(count, channels)
    return Work(
        (Kernels("mad", tiles, 1),), 0, _widened(operation) + layout, 2 * count, layout
    )


def lstm_shape(operation: Operation) -> tuple[int, int, int, int, int] | None:
    """(steps, batch, directions, inputs, hidden) of a plain LSTM; None of one with peepholes,
    lengths, clipping or activations of its own.
    """
    attributes = operation.attributes
    own = ("activations", "clip", "input_forget", "activation_alpha", "activation_beta")
    if any(attributes.get(name) for name in own) or attributes.get("layout"):
        return None
    if any(_given(operation, index) for index in (4, 7)):
        return None
    x, r = _shape(operation, 0), _shape(operation, 2)
    if len(x) != 3 or len(r) != 3:
        return None
    return x[0], x[1], r[0], x[2], r[2]


def _given(operation: Operation, index: int) -> bool:
    return index < len(operation.inputs) and operation.inputs[index] is not None


def _lstm(operation: Operation, channels: int, rows: int) -> Work | None:
    found = lstm_shape(operation)
    lower(operation, (1, 1))  # refuses shapes that do not fit
    if found is None or min(found) < 1 or found[1] > rows:
        return None
    steps, batch, directions, inputs, hidden = found
    times, values = steps * directions, batch * hidden
    tiles, rounds, states = lstm_size(inputs, hidden, channels, batch)
    step = (
        Kernels("gemv", tiles, rounds * batch, times),
        Kernels("cell", states, 1, times),
        Kernels("mul", states, 1, times),
    )
    layout = _layout(operation, (1, 2))
    # Of each gate 16 lanes are read, and the value written that is made of them.
    crossing = GATES * (BURST_BYTES + HALF) + _STATES * HALF
    moved = size(operation.inputs[0]) + times * values * crossing + layout
    macs = times * GATES * values * (inputs + hidden)
    operations = times * values * (GATES * LANES + _ACTIVATIONS)
    return Work(step, operations, moved, macs, layout)
