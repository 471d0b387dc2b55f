"""What an operation asks of AiM's banks: sequences of commands, and what is the host's beside them.

Products (MatMul, Gemm) with few rows take a matrix-vector product a row; bias goes into the MAC
registers. Element-wise products find both operands in two banks of each group and leave the result
in a third. Activation functions go through the MAC registers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from host_daemon.core.device import Operation
from host_daemon.devices.lowering import lower
from host_daemon.devices.pim.aim import recurrence
from host_daemon.devices.pim.aim.activation import FUNCTIONS
from host_daemon.devices.pim.aim.channel import Channel
from host_daemon.devices.pim.aim.commands import Command
from host_daemon.devices.pim.aim.gemv import BANKS, FUNCTION_ROW, LANES, ROW, Gemv, spent
from host_daemon.devices.pim.aim.timing import Timing
from host_daemon.devices.work import elements
from vaccel.model import Shape

PRODUCTS: Final = frozenset({"MatMul", "Gemm"})
OPERATIONS: Final = PRODUCTS | FUNCTIONS | {"Mul", "LSTM"}
_GROUPS: Final = 4
_BF16: Final = 2


@dataclass(frozen=True, slots=True)
class Work:
    """``cycles`` of the channels, which run side by side, and commands of all of them together.

    Beside them the host turns ``converted`` values from and to bf16, does so many ``operations``
    of its own, and moves ``moved`` bytes of DRAM over the bus to change their layout, there and
    back.
    """

    cycles: int
    commands: Mapping[Command, int]
    macs: int = 0
    converted: int = 0
    moved: int = 0
    operations: int = 0


def work(operation: Operation, timing: Timing, channels: int, rows: int) -> Work | None:
    """The work of an operation, or None where the banks have no way to do it.

    Products with more than ``rows`` rows are not theirs: weights would be read once for each.
    Raises InvalidArgument where shapes do not fit.
    """
    if operation.domain not in ("", "ai.onnx") or operation.op not in OPERATIONS:
        return None
    if operation.op in PRODUCTS:
        return _product(operation, timing, channels, rows)
    if operation.op == "LSTM":
        return _recurrent(operation, timing, channels, rows)
    return _element_wise(operation, timing, channels)


def _element_wise(operation: Operation, timing: Timing, channels: int) -> Work | None:
    shapes = [each[1] for each in operation.inputs[:2] if each]
    count = elements(operation.inputs[0]) if operation.inputs else 0
    if count == 0:
        return None
    if operation.op != "Mul":
        return _activate(count, timing, channels)
    if len(shapes) < 2 or shapes[0] != shapes[1]:
        return None  # broadcasting is the host's
    return _multiply(count, timing, channels)


def bias_in_registers(operation: Operation) -> bool:
    """Whether a Gemm's bias can begin in the MAC registers: one value an output, not scaled."""
    given = operation.attributes
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
        return False
    bias = operation.inputs[2] if len(operation.inputs) > 2 else None
    return bias is None or _is_row(bias[1])


def _is_row(shape: Shape) -> bool:
    return len(shape) in (1, 2) and math.prod(shape[:-1]) == 1 and shape[-1] != 1


def _product(operation: Operation, timing: Timing, channels: int, rows: int) -> Work | None:
    lowered = lower(operation, (1, 1))
    if lowered is None or len(lowered.steps) != 1 or lowered.steps[0].gemm.empty:
        return None
    gemm = lowered.steps[0].gemm
    if gemm.m > rows:
        return None
    # Products with matrices of their own share the channels out between them.
    together = min(gemm.batch, channels)
    each = channels // together
    cut = Gemv(gemm.n, gemm.k, each)
    one = spent(replace(cut, keep=cut.fits), timing)
    times = gemm.m * gemm.batch
    commands = {command: count * each * times for command, count in one.commands.items()}
    converted = times * (gemm.k + gemm.n)
    if not bias_in_registers(operation):
        converted += 2 * times * gemm.n
    moved = 0
    if 1 not in operation.constant_inputs:
        # Weights are laid out when a program is loaded; anything else now.
        matrix = gemm.batch * gemm.n * gemm.k
        moved, converted = 2 * matrix * _BF16, converted + matrix
    waves = -(-gemm.batch // together)
    return Work(one.cycles * gemm.m * waves, commands, gemm.macs, converted, moved)


def _recurrent(operation: Operation, timing: Timing, channels: int, rows: int) -> Work | None:
    if not recurrence.plain(operation) or recurrence.sizes(operation)[1] > rows:
        return None
    found = recurrence.cost(operation, timing, channels)
    if found is None:
        return None
    cycles, commands, macs, converted, operations = found
    # Weights that are no part of the program are laid out first.
    elsewhere = [each for each in (1, 2) if each not in operation.constant_inputs]
    matrix = sum(elements(operation.inputs[each]) for each in elsewhere)
    moved = 2 * matrix * _BF16
    return Work(cycles, commands, macs, converted + matrix, moved, operations)


@lru_cache(maxsize=1024)
def _multiply(count: int, timing: Timing, channels: int) -> Work:
    columns = -(-count // (_GROUPS * LANES * channels))
    channel = Channel(timing)
    full, last = divmod(columns - 1, ROW // LANES)

    def row(index: int) -> None:
        channel.issue(Command.EWMUL, ROW // LANES, index)

    channel.repeat(row, full)
    channel.issue(Command.EWMUL, last + 1, full)
    return Work(channel.finish(), _times(channel.counts, channels))


@lru_cache(maxsize=1024)
def _activate(count: int, timing: Timing, channels: int) -> Work:
    channel = Channel(timing)

    def turn(_: int) -> None:
        channel.issue(Command.WRITE_MAC)
        channel.issue(Command.AF, 1, FUNCTION_ROW)
        channel.issue(Command.READ_AF)
        channel.wait()

    channel.repeat(turn, -(-count // (BANKS * channels)))
    return Work(channel.finish(), _times(channel.counts, channels), converted=2 * count)


def _times(counts: Mapping[Command, int], channels: int) -> Counter[Command]:
    return Counter({command: count * channels for command, count in counts.items()})
