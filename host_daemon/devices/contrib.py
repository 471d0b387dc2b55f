"""Products that ONNX Runtime's own operators hide: what a ``com.microsoft`` operator multiplies.

Optimised and quantised models have them: fused matrix products and convolutions, attention with
its projections, experts, weights of few bits. Each becomes operations of ONNX, whose GEMMs are
known. Source: ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from host_daemon.core.device import Operation
from host_daemon.devices.work import elements, size
from vaccel.model import DType, Shape

DOMAIN: Final = "com.microsoft"
Spec = tuple[DType, Shape]


@dataclass(frozen=True, slots=True)
class Part:
    """One product of an operator. ``weight_bytes`` are what its right side takes in DRAM, where
    that is not what its type and shape say.
    """

    operation: Operation
    weight_bytes: int | None = None


def parts(operation: Operation) -> tuple[Part, ...]:
    """The products of an operator, in order; none of one that has none, or whose shapes are not
    those of its document.
    """
    find = _PARTS.get(operation.op) if operation.domain == DOMAIN else None
    if find is None:
        return ()
    try:
        return find(operation)
    except (IndexError, TypeError, ValueError, ZeroDivisionError):
        return ()


def numbers(operation: Operation) -> DType | None:
    """The element type that an operator multiplies, where its first input does not say it."""
    quantises = operation.domain == DOMAIN and operation.op == "DynamicQuantizeMatMul"
    return DType.INT8 if quantises else None


def _given(operation: Operation, index: int) -> Spec | None:
    return operation.inputs[index] if index < len(operation.inputs) else None


def _spec(operation: Operation, index: int) -> Spec:
    found = _given(operation, index)
    if found is None:
        raise ValueError(index)
    return found


def _number(attributes: Mapping[str, Any], name: str, default: int) -> int:
    return int(attributes.get(name, default))


def _turned(spec: Spec, turn: Any) -> Spec:
    return (spec[0], (*spec[1][:-2], spec[1][-1], spec[1][-2])) if turn else spec


def _as(operation: Operation, op: str, inputs: tuple[Spec | None, ...]) -> tuple[Part]:
    made = Operation(op, inputs, operation.outputs[:1], operation.attributes)
    return (Part(made),)


def _matmul(operation: Operation) -> tuple[Part, ...]:
    attributes = operation.attributes
    left = _turned(_spec(operation, 0), attributes.get("transA"))
    right = _turned(_spec(operation, 1), attributes.get("transB"))
    return _as(operation, "MatMul", (left, right))


def _gemm(operation: Operation) -> tuple[Part, ...]:
    return _as(operation, "Gemm", operation.inputs)


def _quantised_gemm(operation: Operation) -> tuple[Part, ...]:
    return _as(operation, "Gemm", (_spec(operation, 0), _spec(operation, 3)))


def _convolution(operation: Operation) -> tuple[Part, ...]:
    return _as(operation, "Conv", operation.inputs[:2])


def _channels_first(spec: Spec) -> Spec:
    return spec[0], (spec[1][0], spec[1][-1], *spec[1][1:-1])


def _nhwc(operation: Operation, weight: int) -> tuple[Part, ...]:
    inputs = (_channels_first(_spec(operation, 0)), _spec(operation, weight))
    outputs = tuple(each and _channels_first(each) for each in operation.outputs[:1])
    return (Part(Operation("Conv", inputs, outputs, operation.attributes)),)


def _quantised_convolution(operation: Operation) -> tuple[Part, ...]:
    if operation.attributes.get("channels_last"):
        return _nhwc(operation, 3)
    return _as(operation, "Conv", (_spec(operation, 0), _spec(operation, 3)))


def _few_bits(operation: Operation) -> tuple[Part, ...]:
    left = _spec(operation, 0)
    depth, width = (_number(operation.attributes, name, 0) for name in "KN")
    right = (left[0], (depth, width))
    held = sum(size(each) for each in operation.inputs[1:5])
    made = Operation("MatMul", (left, right), operation.outputs[:1])
    return (Part(made, held),)


def _attended(
    q: Spec, k: Spec, v: Spec, heads: tuple[int, int], past: Spec | None, outputs: Any
) -> Part:
    """Attention over operands of [batch, steps, heads * width]."""
    attributes = {"q_num_heads": heads[0], "kv_num_heads": heads[1]}
    return Part(Operation("Attention", (q, k, v, None, past), outputs, attributes))


def _projected(operation: Operation, past_at: int) -> tuple[Part, ...]:
    """One product for queries, keys and values, then attention."""
    x, weights = _spec(operation, 0), _spec(operation, 1)
    batch, steps = x[1][0], x[1][1]
    heads = _number(operation.attributes, "num_heads", 1)
    third = weights[1][1] // 3
    widths = tuple(operation.attributes.get("qkv_hidden_sizes") or (third,) * 3)
    made = (x[0], (batch, steps, weights[1][1]))
    first = Part(Operation("MatMul", (x, weights), (made,)))
    q, k, v = ((x[0], (batch, steps, int(width))) for width in widths)
    past = _given(operation, past_at)
    if past is not None:
        past = (past[0], past[1][1:])  # keys and values lie in one tensor
    return first, _attended(q, k, v, (heads, heads), past, operation.outputs[:1])


def _many_heads(operation: Operation, past_at: int = 6) -> tuple[Part, ...]:
    heads = _number(operation.attributes, "num_heads", 1)
    q = _spec(operation, 0)
    if len(q[1]) == 5:  # [batch, steps, heads, 3, width]
        each = (q[0], (q[1][0], q[1][1], q[1][2] * q[1][4]))
        return (_attended(each, each, each, (heads, heads), None, operation.outputs[:1]),)
    k = _spec(operation, 1)
    if len(k[1]) == 5:  # [batch, steps, heads, 2, width]
        k = (k[0], (k[1][0], k[1][1], k[1][2] * k[1][4]))
    v = _given(operation, 2) or k
    k, v = (_flat(each) if len(each[1]) == 4 else each for each in (k, v))
    past = _given(operation, past_at)
    return (_attended(q, k, v, (heads, heads), past, operation.outputs[:1]),)


def _flat(spec: Spec) -> Spec:
    """[batch, heads, steps, width] as [batch, steps, heads * width]."""
    batch, heads, steps, width = spec[1]
    return spec[0], (batch, steps, heads * width)


def _grouped(operation: Operation) -> tuple[Part, ...]:
    heads = _number(operation.attributes, "num_heads", 1)
    shared = _number(operation.attributes, "kv_num_heads", heads)
    q, k, v = _spec(operation, 0), _given(operation, 1), _given(operation, 2)
    if k is None or v is None:
        batch, steps, whole = q[1]
        width = whole // (heads + 2 * shared)
        q = (q[0], (batch, steps, heads * width))
        k = v = (q[0], (batch, steps, shared * width))
    return (_attended(q, k, v, (heads, shared), _given(operation, 3), operation.outputs[:1]),)


def _experts(operation: Operation, places: tuple[int, ...]) -> tuple[Part, ...]:
    """Each row goes through k experts of several products; each expert that is met is read once."""
    x = _spec(operation, 0)
    rows = math.prod(x[1][:-1]) * _number(operation.attributes, "k", 1)
    found = []
    for index, place in enumerate(places):
        weights = _given(operation, place)
        if weights is None:
            continue
        experts, outer = weights[1][0], weights[1][1]
        first = _spec(operation, places[0])[1][1]
        depth = first if index == 1 else x[1][-1]
        held = size(weights) // max(experts, 1) * min(experts, rows)
        sides = ((x[0], (rows, depth)), (x[0], (depth, outer)))
        product = Operation("MatMul", sides, ((x[0], (rows, outer)),))
        found.append(Part(product, held))
    return tuple(found)


def _recurrent(operation: Operation) -> tuple[Part, ...]:
    x, w, r = (_spec(operation, index) for index in range(3))
    inputs = (x, _turned(w, True), _turned(r, True))
    return (Part(Operation("LSTM", inputs, operation.outputs, operation.attributes)),)


_PARTS: Final[Mapping[str, Callable[[Operation], tuple[Part, ...]]]] = {
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation"), _matmul),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _matmul),
    "MatMulInteger16": _matmul,
    "FusedGemm": _gemm,
    "QGemm": _quantised_gemm,
    "FusedConv": _convolution,
    "NhwcFusedConv": lambda operation: _nhwc(operation, 1),
    "QLinearConv": _quantised_convolution,
    "MatMulNBits": _few_bits,
    "MatMulBnb4": _few_bits,
    "ConvTransposeWithDynamicPads": lambda operation: _as(
        operation, "ConvTranspose", operation.inputs[:2]
    ),
    "Attention": lambda operation: _projected(operation, 4),
    "DecoderMaskedSelfAttention": lambda operation: _projected(operation, 4),
    "QAttention": lambda operation: _projected(operation, 8),
    "MultiHeadAttention": _many_heads,
    "DecoderMaskedMultiHeadAttention": lambda operation: _many_heads(operation, 5),
    "GroupQueryAttention": _grouped,
    "SparseAttention": _grouped,
    "MoE": lambda operation: _experts(operation, (2, 4, 6)),
    "QMoE": lambda operation: _experts(operation, (2, 5, 8)),
    "DynamicQuantizeLSTM": _recurrent,
}


def results(operation: Operation) -> int:
    """Elements of the result, for what is fused behind a product: bias, scale, activation."""
    return elements(operation.outputs[0]) if operation.outputs else 0
