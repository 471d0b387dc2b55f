"""The banks of an AiM card that one VF owns: cost and results of what they compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import ARITHMETIC, Card, NodeCost, Operation
from host_daemon.devices.pim.aim import arithmetic as units
from host_daemon.devices.pim.aim import recurrence
from host_daemon.devices.pim.aim.activation import activate
from host_daemon.devices.pim.aim.arithmetic import Floats, rounded
from host_daemon.devices.pim.aim.commands import COMPUTE, Command
from host_daemon.devices.pim.aim.gemv import BANKS
from host_daemon.devices.pim.aim.parameters import COLUMN, AimParameters
from host_daemon.devices.pim.aim.work import OPERATIONS, PRODUCTS, Work, bias_in_registers, work
from host_daemon.devices.pim.host import HostModel
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import Array, Profile

BF16: Final = "bf16"
# What a program may ask for: the host computes in the common kernels' float32.
_ASKED: Final = (BF16, "fp32")
_ON_PINS: Final = (
    Command.WRITE_BUFFER,
    Command.WRITE_MAC,
    Command.READ_MAC,
    Command.READ_AF,
    Command.WRITE_BANKS,
)


class AimBanks:
    """Channels of AiM. They compute bf16 only; a program in bf16 goes where it is done sooner."""

    arithmetic: Sequence[str] = (BF16,)

    def __init__(self, card: Card, profile: Profile) -> None:
        self._own: AimParameters = card.parameters.own
        self._card = card.name
        self._channels = profile.cores
        self._host = HostModel(card, profile)

    def cost(self, operation: Operation) -> NodeCost | None:
        """The closed form, where the banks are not slower than the host.

        Raises InvalidArgument where shapes do not fit, Unsupported for an arithmetic that neither
        banks nor host have.
        """
        asked = operation.attributes.get(ARITHMETIC)
        if asked is not None and asked not in _ASKED:
            raise Unsupported(
                f"{operation.op}: {self._card} does not compute in {asked}",
                hint=f"it does in {', '.join(_ASKED)}",
            )
        if asked != BF16:
            return None
        asked_for = work(operation, self._own.timing, self._channels, self._own.rows)
        if asked_for is None:
            return None
        found = self._cost(asked_for)
        slower = found.critical_cycles > self._host.cost(operation).critical_cycles
        return None if slower else found

    def _cost(self, asked: Work) -> NodeCost:
        host = self._host
        operations = asked.converted + asked.operations
        lanes = math.ceil(operations / host.operations_per_cycle)
        bus = math.ceil(asked.moved / host.bytes_per_cycle)
        busy = {"banks": asked.cycles, "host": lanes, "bus": bus}
        pins = sum(asked.commands.get(each, 0) for each in _ON_PINS) * COLUMN
        inside = sum(asked.commands.get(each, 0) for each in COMPUTE) * COLUMN * BANKS
        energy = self._own.energy
        joules = {
            f"bank {each.value}": count * energy.of(each)
            for each, count in asked.commands.items()
            if energy.of(each)
        }
        return NodeCost(
            place="banks",
            # The host changes layouts and rounds before and after, not beside the banks.
            critical_cycles=host.node_cycles + asked.cycles + max(lanes, bus),
            cycles={unit: value for unit, value in busy.items() if value},
            bytes={"dram": pins + asked.moved, "banks": inside},
            joules=joules | host.joules(operations, asked.moved),
            macs=asked.macs,
            note=", ".join(
                f"{count // self._channels} {each.value}"
                for each, count in asked.commands.items()
                if each in COMPUTE
            )
            + " a channel",
        )

    def computes(self, operation: Operation) -> bool:
        """Operations in bf16 that banks can do; where they are slower, ``run`` leaves them."""
        known = operation.domain in ("", "ai.onnx") and operation.op in OPERATIONS
        return known and operation.attributes.get(ARITHMETIC) == BF16

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """The banks' result, as ``cost`` places it; the host computes products in bf16, too.

        Raises InvalidArgument where shapes do not fit.
        """
        first = inputs[0] if inputs else None
        if first is None or not self.computes(operation):
            return None
        compute = _at_host if self.cost(operation) is None else _in_banks
        try:
            return compute(operation, first, inputs)
        except ValueError as error:
            shapes = [None if each is None else list(each.shape) for each in inputs]
            raise InvalidArgument(f"{operation.op}: shapes {shapes} do not fit") from error


def _in_banks(
    operation: Operation, first: Array, inputs: Sequence[Array | None]
) -> Sequence[Array] | None:
    """What the processing units compute."""
    if operation.op == "LSTM":
        return recurrence.run(operation, inputs)[: len(operation.outputs)]
    if operation.op == "Mul":
        result = units.multiply(first, _input(operation, inputs, 1))
    elif operation.op in PRODUCTS:
        result = _product(operation, first, _input(operation, inputs, 1), inputs)
    else:
        alpha = float(operation.attributes.get("alpha", 0.01))
        result = activate(operation.op, first.ravel(), alpha).reshape(first.shape)
    return [np.asarray(result.astype(first.dtype))]


def _at_host(
    operation: Operation, first: Array, inputs: Sequence[Array | None]
) -> Sequence[Array] | None:
    """Products as processors with bf16 compute them: rounded operands, float32 sums, a rounded
    result. None for all else: the common kernels on values that are bf16 already.
    """
    if operation.op not in PRODUCTS:
        return None
    left, right = rounded(first), rounded(_input(operation, inputs, 1))
    if operation.op == "Gemm":
        left = left.T if operation.attributes.get("transA") else left
        right = right.T if operation.attributes.get("transB") else right
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.matmul(left, right)
        if operation.op == "Gemm":
            sums = _scaled(operation, sums, inputs)
    return [np.asarray(rounded(sums).astype(first.dtype))]


def _scaled(operation: Operation, sums: Floats, inputs: Sequence[Array | None]) -> Floats:
    """A Gemm's factors and its bias, in float32."""
    sums = sums * np.float32(operation.attributes.get("alpha", 1.0))
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None:
        sums = sums + rounded(bias) * np.float32(operation.attributes.get("beta", 1.0))
    return sums


def _input(operation: Operation, inputs: Sequence[Array | None], index: int) -> Array:
    found = inputs[index] if index < len(inputs) else None
    if found is None:
        raise InvalidArgument(f"{operation.op}: input {index} is missing")
    return found


def _product(
    operation: Operation, left: Array, right: Array, inputs: Sequence[Array | None]
) -> Floats:
    given: NDArray[Any] = left
    matrix: NDArray[Any] = right
    if operation.op == "MatMul":
        return _matmul(given, matrix)
    given = given.T if operation.attributes.get("transA") else given
    matrix = matrix.T if operation.attributes.get("transB") else matrix
    bias = inputs[2] if len(inputs) > 2 else None
    if bias_in_registers(operation):
        start = None if bias is None else bias.ravel()
        return np.stack([units.gemv(matrix, row, start) for row in given])
    # The host scales and adds.
    return rounded(_scaled(operation, _matmul(given, matrix), inputs))


def _matmul(left: NDArray[Any], right: NDArray[Any]) -> Floats:
    """ONNX's MatMul, a matrix-vector product for each row of the left side."""
    lhs = left[None, :] if left.ndim == 1 else left
    rhs = right[:, None] if right.ndim == 1 else right
    outer = np.broadcast_shapes(lhs.shape[:-2], rhs.shape[:-2])
    lhs = np.broadcast_to(lhs, (*outer, *lhs.shape[-2:])).reshape(-1, *lhs.shape[-2:])
    rhs = np.broadcast_to(rhs, (*outer, *rhs.shape[-2:])).reshape(-1, *rhs.shape[-2:])
    result = np.empty((len(lhs), lhs.shape[1], rhs.shape[2]), np.float32)
    for index, (rows, matrix) in enumerate(zip(lhs, rhs, strict=True)):
        for number, row in enumerate(rows):
            result[index, number] = units.gemv(matrix, row)
    shape = [*outer, lhs.shape[1], rhs.shape[2]]
    if left.ndim == 1:
        del shape[-2]
    if right.ndim == 1:
        del shape[-1]
    return result.reshape(shape)
