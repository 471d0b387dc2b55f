"""From ONNX operations to the GEMMs that arrays run: im2col, grouped and transposed
convolution, RNNs.

Shapes are checked here as far as the GEMM depends on them; the rest is the kernels' business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from host_daemon.core.device import Operation
from host_daemon.devices import contrib
from host_daemon.devices.contraction import contraction
from host_daemon.devices.gemm import Gemm
from host_daemon.devices.work import elements, size
from vaccel.errors import InvalidArgument
from vaccel.model import DType, Shape

Spec = tuple[DType, Shape]


@dataclass(frozen=True, slots=True)
class Step:
    """A GEMM that runs ``repeat`` times in a row, each needing the one before."""

    gemm: Gemm
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Lowered:
    """What an operation becomes: GEMMs in order, and lane operations of the vector core after
    them.
    """

    steps: tuple[Step, ...]
    epilogue: int
    operand: DType

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates."""
        return sum(step.gemm.macs * step.repeat for step in self.steps)


# The fold of an array: effective rows and columns, known once the arithmetic is.
Fold = tuple[int, int]


def _spec(operation: Operation, index: int, rank: int = 0) -> Spec:
    found = operation.inputs[index] if index < len(operation.inputs) else None
    if found is None:
        raise InvalidArgument(f"{operation.op}: input {index} is missing")
    if len(found[1]) < rank:
        raise InvalidArgument(
            f"{operation.op}: input {index} has shape {list(found[1])}, not {rank} dimensions"
        )
    return found


def _output(operation: Operation) -> int:
    return sum(size(each) for each in operation.outputs)


def _integer(attributes: Mapping[str, Any], key: str, default: int) -> int:
    value = attributes.get(key, default)
    return int(value) if isinstance(value, (int, float)) else default


def _matmul(operation: Operation, left: int, right: int) -> Lowered:
    a, b = _spec(operation, left, 1), _spec(operation, right, 1)
    lhs = (1, *a[1]) if len(a[1]) == 1 else a[1]
    rhs = (*b[1], 1) if len(b[1]) == 1 else b[1]
    if lhs[-1] != rhs[-2]:
        raise InvalidArgument(
            f"{operation.op}: shapes {list(a[1])} and {list(b[1])} do not multiply:"
            f" {lhs[-1]} columns, {rhs[-2]} rows"
        )
    m, k, n = lhs[-2], lhs[-1], rhs[-1]
    outer = max(math.prod(lhs[:-2]), math.prod(rhs[:-2]))
    if math.prod(rhs[:-2]) == 1:
        # One right side for all batches: they are just more rows.
        m, outer = m * outer, 1
    gemm = Gemm(m, n, k, outer, size(a), size(b), _output(operation), m * n * k * outer)
    return Lowered((Step(gemm),), 0, a[0])


def _gemm(operation: Operation, fold: Fold) -> Lowered:
    a, b = _spec(operation, 0, 2), _spec(operation, 1, 2)
    if len(a[1]) != 2 or len(b[1]) != 2:
        raise InvalidArgument(f"Gemm: shapes {list(a[1])} and {list(b[1])} are not two matrices")
    m, k = a[1] if not operation.attributes.get("transA") else a[1][::-1]
    rows, n = b[1] if not operation.attributes.get("transB") else b[1][::-1]
    if k != rows:
        raise InvalidArgument(
            f"Gemm: shapes {list(a[1])} and {list(b[1])} do not multiply: {k} columns, {rows} rows"
        )
    gemm = Gemm(m, n, k, 1, size(a), size(b), _output(operation), m * n * k)
    return Lowered((Step(gemm),), m * n if len(operation.inputs) > 2 else 0, a[0])


def _packed(groups: int, m: int, n: int, k: int, fold: Fold) -> tuple[int, int, int]:
    """(n, k, batch) with as many groups on the array's diagonal as fit: how depthwise fills it."""
    together = max(1, min(groups, fold[0] // max(k, 1), fold[1] // max(n, 1)))
    return n * together, k * together, -(-groups // together)


def _convolution(operation: Operation, data: int, weight: int, fold: Fold) -> Lowered:
    x, w = _spec(operation, data, 3), _spec(operation, weight, 3)
    groups = max(1, _integer(operation.attributes, "group", 1))
    kernel = math.prod(w[1][2:])
    if x[1][1] != w[1][1] * groups:
        raise InvalidArgument(
            f"{operation.op}: input {list(x[1])} has {x[1][1]} channels, weight {list(w[1])} in"
            f" {groups} groups takes {w[1][1] * groups}"
        )
    y = operation.outputs[0] if operation.outputs else None
    pixels = math.prod(y[1][2:]) if y else math.prod(x[1][2:])
    m, n, k = x[1][0] * pixels, w[1][0] // groups, w[1][1] * kernel
    wide_n, wide_k, batch = _packed(groups, m, n, k, fold)
    macs = m * n * k * groups
    gemm = Gemm(m, wide_n, wide_k, batch, size(x), size(w), _output(operation), macs)
    return Lowered((Step(gemm),), elements(y), x[0])


def _transposed(operation: Operation, fold: Fold) -> Lowered:
    """Each input pixel makes a patch of the output: a GEMM, and adding up patches on the vector
    core.
    """
    x, w = _spec(operation, 0, 3), _spec(operation, 1, 3)
    groups = max(1, _integer(operation.attributes, "group", 1))
    if x[1][1] != w[1][0]:
        raise InvalidArgument(
            f"ConvTranspose: input {list(x[1])} has {x[1][1]} channels, weight {list(w[1])} takes"
            f" {w[1][0]}"
        )
    m = x[1][0] * math.prod(x[1][2:])
    n, k = w[1][1] * math.prod(w[1][2:]), x[1][1] // groups
    wide_n, wide_k, batch = _packed(groups, m, n, k, fold)
    macs = m * n * k * groups
    gemm = Gemm(m, wide_n, wide_k, batch, size(x), size(w), _output(operation), macs)
    return Lowered((Step(gemm),), m * n * groups, x[0])


_GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _recurrent(operation: Operation, fold: Fold) -> Lowered:
    """All inputs in one GEMM, then one small GEMM a time step, which must wait for the one
    before.

    Gates: two transcendentals of ten operations and five multiply-adds for each of the G*H
    values.
    """
    gates = _GATES[operation.op]
    x, w, r = _spec(operation, 0, 3), _spec(operation, 1, 3), _spec(operation, 2, 3)
    first, second = x[1][0], x[1][1]
    steps, batch = (second, first) if operation.attributes.get("layout") else (first, second)
    directions, hidden = w[1][0], r[1][2]
    if w[1][1] != gates * hidden or w[1][2] != x[1][2]:
        raise InvalidArgument(
            f"{operation.op}: weight {list(w[1])} does not fit input {list(x[1])} and"
            f" hidden size {hidden}"
        )
    n, k = gates * hidden, x[1][2]
    whole = steps * batch
    inputs = Gemm(whole, n, k, directions, size(x), size(w), 0, whole * n * k * directions)
    # Recurrent weights are loaded with the first step and stay; the state never leaves the core.
    load = Gemm(batch, n, hidden, directions, 0, size(r), _output(operation), 0)
    step = Gemm(batch, n, hidden, directions, 0, 0, 0, batch * n * hidden * directions)
    epilogue = whole * directions * n * 15
    chain = (Step(inputs), Step(load), Step(step, steps)) if steps else (Step(inputs),)
    return Lowered(chain, epilogue, x[0])


def _attention(operation: Operation, fold: Fold) -> Lowered:
    """Scores and values as batched GEMMs, softmax between them (14 lane operations a score)."""
    q, k, v = (_spec(operation, index, 3) for index in range(3))
    batch = q[1][0]
    if len(q[1]) == 4:
        heads, queries, width, out = q[1][1], q[1][2], q[1][3], v[1][3]
        keys = k[1][2]
    else:
        heads = max(1, _integer(operation.attributes, "q_num_heads", 1))
        shared = max(1, _integer(operation.attributes, "kv_num_heads", heads))
        queries, width, out = q[1][1], q[1][2] // heads, v[1][2] // shared
        keys = k[1][1]
    past = operation.inputs[4] if len(operation.inputs) > 4 else None
    keys += past[1][2] if past and len(past[1]) == 4 else 0
    many = batch * heads
    scores = Gemm(queries, keys, width, many, size(q), size(k), 0, many * queries * keys * width)
    values = Gemm(
        queries, out, keys, many, 0, size(v), _output(operation), many * queries * keys * out
    )
    return Lowered((Step(scores), Step(values)), 14 * many * queries * keys, q[0])


def _einsum(operation: Operation, fold: Fold) -> Lowered:
    """A product of two operands, summed over what they share and the result lacks."""
    a, b = _spec(operation, 0), _spec(operation, 1)
    found = contraction(operation)
    if found is None:
        raise InvalidArgument(f"Einsum: {operation.attributes.get('equation')} is no product")
    batch, m, n, k = found
    macs = batch * m * n * k
    gemm = Gemm(m, n, k, batch, size(a), size(b), _output(operation), macs)
    return Lowered((Step(gemm),), 0, a[0])


_LOWERINGS: Final[Mapping[str, Callable[[Operation, Fold], Lowered]]] = {
    "MatMul": lambda operation, fold: _matmul(operation, 0, 1),
    "MatMulInteger": lambda operation, fold: _matmul(operation, 0, 1),
    "QLinearMatMul": lambda operation, fold: _matmul(operation, 0, 3),
    "Gemm": _gemm,
    "Conv": lambda operation, fold: _convolution(operation, 0, 1, fold),
    "ConvInteger": lambda operation, fold: _convolution(operation, 0, 1, fold),
    "QLinearConv": lambda operation, fold: _convolution(operation, 0, 3, fold),
    "ConvTranspose": _transposed,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Attention": _attention,
    "Einsum": _einsum,
}
# Requantising each result costs about four lane operations: scale, round, zero point, clip.
_REQUANTISED: Final = frozenset({"QLinearMatMul", "QLinearConv"})


def lower(operation: Operation, fold: Fold) -> Lowered | None:
    """The GEMMs of an operation, or None where it has none.

    Raises InvalidArgument naming the op and the shapes that do not fit.
    """
    if operation.domain == contrib.DOMAIN:
        return _contributed(operation, fold)
    find = _LOWERINGS.get(operation.op)
    if find is None or operation.domain not in ("", "ai.onnx"):
        return None
    if operation.op == "Einsum" and contraction(operation) is None:
        return None
    lowered = find(operation, fold)
    if operation.op in _REQUANTISED:
        results = elements(operation.outputs[0]) if operation.outputs else 0
        return Lowered(lowered.steps, lowered.epilogue + 4 * results, lowered.operand)
    return lowered


def _contributed(operation: Operation, fold: Fold) -> Lowered | None:
    """The GEMMs of all parts of an operator of ONNX Runtime's own, and what is fused behind.

    None where its shapes are none that are known: what it computes is the kernel's business.
    """
    steps: list[Step] = []
    epilogue = 0
    operand: DType | None = None
    for part in contrib.parts(operation):
        try:
            lowered = _LOWERINGS[part.operation.op](part.operation, fold)
        except InvalidArgument:
            return None
        own = lowered.steps
        if part.weight_bytes is not None:
            own = tuple(
                replace(step, gemm=replace(step.gemm, right_bytes=part.weight_bytes))
                for step in own
            )
        steps += own
        epilogue += lowered.epilogue
        operand = operand or lowered.operand
    if operand is None:
        return None
    return Lowered(tuple(steps), epilogue + contrib.results(operation), operand)
