"""Integer divisions that the CPU cannot make.

ONNX Runtime 1.32 divides int32 and int64 by the CPU's own instruction, which raises SIGFPE where
the smallest number is divided by -1. (Divisors of 0 it finds itself.) So where a divisor may be
-1, the division is by 1 and the quotient changes its sign, which wraps as NumPy's does::

    two = 2 * (b == -1);  y = (a / (b + two)) * (1 - two)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from host_daemon.compiler.dimensions import Dimensions
from host_daemon.compiler.steps import Steps

_TYPES: Final[Mapping[int, Any]] = {
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
}


def plan(
    node: NodeProto, known: Dimensions
) -> Callable[[NodeProto], Iterator[NodeProto]] | None:
    """How a Div is written anew; None where its type, or a constant divisor, say that it can be."""
    if len(node.input) != 2 or not node.output:
        return None
    constant = known.constant(node.input[1])
    kind = known.kind(node.input[1]) or known.kind(node.input[0])
    if kind not in _TYPES:
        return None
    if constant is not None and not np.any(numpy_helper.to_array(constant) == -1):
        return None
    return lambda n: _safe(n, kind)


def _safe(node: NodeProto, kind: int) -> Iterator[NodeProto]:
    dtype = _TYPES[kind]
    before, after = Steps(node, "divisor"), Steps(node, "sign")
    b, result = node.input[1], node.output[0]
    minus = before.add("Equal", "minus", b, before.constant("minus_one", np.array(-1, dtype)))
    one = before.add("Cast", "one", minus, to=kind)
    two = before.add("Add", "two", one, one)
    node.input[1] = before.add("Add", "safe", b, two)
    node.output[0] = after.name("quotient")
    sign = after.add("Sub", "sign", after.constant("plain", np.array(1, dtype)), two)
    after.add("Mul", "signed", node.output[0], sign, result=result)
    yield from before.made
    yield node
    yield from after.made
