"""Products in a short floating-point format: rounded operands, float32 sums, a rounded result.

The points are those of the NPU's documentation: each operand is rounded once as it enters the
array, products and sums are float32 with the bias among them, and each result is rounded once as it
leaves. Products of two such numbers are exact in float32 (bf16 has 8 bits of significand, fp16 11,
fp8 4: twice that is 24 at most), so that ONNX Runtime's float32 kernels are the array's arithmetic;
the order of additions is the kernel's.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper

from host_daemon.compiler.arithmetic.rewriting import Rewriting, Scope
from host_daemon.core.device import Rounding
from vaccel.model import Array, DType

PRODUCTS: Final = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
# The opset from which on Cast knows a format (ONNX's document of Cast, its versions).
OPSETS: Final = {DType.BFLOAT16: 13, DType.FLOAT8_E4M3FN: 19, DType.FLOAT8_E5M2: 19}
_KINDS: Final = {
    DType.BFLOAT16: TensorProto.BFLOAT16,
    DType.FLOAT16: TensorProto.FLOAT16,
    DType.FLOAT8_E4M3FN: TensorProto.FLOAT8E4M3FN,
    DType.FLOAT8_E5M2: TensorProto.FLOAT8E5M2,
}
# Of numbers of a format they give numbers of that format: they pick, order or compare.
_KEEPING: Final = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Relu",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


class Floats:
    """Writes products in one format."""

    def __init__(self, rewriting: Rewriting, name: str, rounding: Rounding) -> None:
        self._rewriting = rewriting
        self._name = name
        self._rounding = rounding
        # Nodes that round, by the value that they give.
        self._rounders: dict[str, tuple[str, ...]] = {}

    def product(self, node: NodeProto, scope: Scope) -> list[NodeProto]:
        """The nodes that take the place of a product; its own keeps its name."""
        if node.op_type not in PRODUCTS:
            return []
        made: list[NodeProto] = []
        for index in (0, 1):
            node.input[index] = self._operand(node.input[index], scope, node.name, made)
        result = node.output[0]
        node.output[0] = self._rewriting.name(f"{result}/sum")
        made.append(node)
        self._rewriting.arithmetic[node.name] = self._name
        made += self._round(node.output[0], result, self._rounding.result)
        self._rewriting.take_in(self._rounders[result], node.name)
        if self._rounding.result is self._rounding.operand:
            scope.short[result] = result
        return made

    def other(self, node: NodeProto, scope: Scope) -> None:
        """Note where a node that is no product gives short numbers of short numbers."""
        if node.op_type == "Concat":
            kept = all(scope.rounded(name) == name for name in node.input)
        else:
            kept = node.op_type in _KEEPING and scope.rounded(node.input[0]) == node.input[0]
        if kept and node.domain in ("", "ai.onnx"):
            scope.short[node.output[0]] = node.output[0]
            if node.op_type == "Split":
                scope.short.update((name, name) for name in node.output)

    def _operand(self, value: str, scope: Scope, product: str, made: list[NodeProto]) -> str:
        known = scope.rounded(value)
        if not known:
            tensor, owner = scope.constant(value), scope.owner(value)
            if tensor is not None and owner is not None:
                short = _round(self._rewriting.array(tensor), self._rounding.operand)
                known = self._rewriting.constant(f"{value}/{self._name}", short)
                owner.short[value] = known
            else:
                known = self._rewriting.name(f"{value}/{self._name}")
                made += self._round(value, known, self._rounding.operand)
                scope.short[value] = known
        self._rewriting.take_in(self._rounders.get(known, ()) if known != value else (), product)
        return known

    def _round(self, value: str, result: str, dtype: DType) -> list[NodeProto]:
        """To the format and back. Beyond its range a number becomes infinity, or NaN in e4m3."""
        short = self._rewriting.name(f"{result}/short")
        saturate: dict[str, Any] = {"saturate": 0} if dtype.value.startswith("float8") else {}
        down = helper.make_node("Cast", [value], [short], to=_KINDS[dtype], **saturate)
        up = helper.make_node("Cast", [short], [result], to=TensorProto.FLOAT)
        down.name = self._rewriting.name(f"{result}/down")
        up.name = self._rewriting.name(f"{result}/up")
        self._rounders[result] = (down.name, up.name)
        return [down, up]


def _round(values: Array, dtype: DType) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values.astype(dtype.numpy).astype(np.float32))
