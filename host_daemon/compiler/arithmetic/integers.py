"""Products in int8: weights by channel, activations by tensor with the range that they really have.

It is ONNX Runtime's dynamic quantisation (``onnxruntime.quantization.quantize_dynamic``), with a
scale for each channel of the weights: int8, symmetric, so that the largest of a channel is 127;
activations are uint8, by ``DynamicQuantizeLinear``. Sums are exact int32. Scales and bias are
applied to them in float32 as they leave the array.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper

from host_daemon.compiler.arithmetic.rewriting import Rewriting, Scope
from vaccel.model import Array

# DynamicQuantizeLinear is of this opset.
OPSET: Final = 11
_MOST: Final = 127
# float32 is exact up to here, whatever the order of additions.
_EXACT: Final = 1 << 24


class Integers:
    """Writes products of constant weights in int8."""

    def __init__(self, rewriting: Rewriting) -> None:
        self._rewriting = rewriting
        self._made: list[NodeProto] = []

    def product(self, node: NodeProto, scope: Scope) -> list[NodeProto]:
        """The nodes that take the place of a product; [] where it stays as it is."""
        tensor = scope.constant(node.input[1])
        if tensor is None or len(node.output) != 1:
            return []
        weight = self._rewriting.array(tensor)
        if weight.size == 0 or not np.isfinite(weight).all():
            return []
        self._made = []
        if node.op_type == "Conv" and weight.ndim > 2:
            self._convolution(node, weight, scope)
        elif node.op_type == "MatMul" and weight.ndim == 2:
            self._matmul(node, weight, scope)
        elif node.op_type == "Gemm" and weight.ndim == 2 and not _attribute(node, "transA", 0):
            self._gemm(node, weight, scope)
        if self._made:
            self._rewriting.arithmetic[node.name] = "int8"
        return self._made

    def other(self, node: NodeProto, scope: Scope) -> None:
        """Nothing to note of nodes that are no products."""

    def _convolution(self, node: NodeProto, weight: Array, scope: Scope) -> None:
        short, scale = quantise(weight, 0)
        spread = scale.reshape(-1, *(1,) * (weight.ndim - 2))
        x, x_scale, zero = self._activation(node.input[0], scope)
        wish = f"{node.input[1]}/int8"
        if not is_exact_in_float(short):
            filters = self._rewriting.constant(wish, short)
            sums = self._as(node, "ConvInteger", [x, filters, zero])
            sums = self._within(node, "Cast", [sums], to=TensorProto.FLOAT)
        else:
            # The same sums, by kernels that are faster and know depthwise filters.
            filters = self._rewriting.constant(wish, short.astype(np.float32))
            data = [
                self._within(node, "Cast", [each], to=TensorProto.FLOAT) for each in (x, zero)
            ]
            data = [self._within(node, "Sub", data)]
            sums = self._as(node, "Conv", [*data, filters])
        bias = node.input[2] if len(node.input) > 2 else ""
        if bias:
            bias = self._spread(bias, weight.ndim - 2, node, scope)
        self._scaled(node, sums, (x_scale, spread), bias)

    def _matmul(self, node: NodeProto, weight: Array, scope: Scope) -> None:
        short, scale = quantise(weight, 1)
        x, x_scale, zero = self._activation(node.input[0], scope)
        columns = self._rewriting.constant(f"{node.input[1]}/int8", short)
        sums = self._as(node, "MatMulInteger", [x, columns, zero], bare=True)
        sums = self._within(node, "Cast", [sums], to=TensorProto.FLOAT)
        self._scaled(node, sums, (x_scale, scale), "")

    def _gemm(self, node: NodeProto, weight: Array, scope: Scope) -> None:
        short, scale = quantise(weight.T if _attribute(node, "transB", 0) else weight, 1)
        x, x_scale, zero = self._activation(node.input[0], scope)
        columns = self._rewriting.constant(f"{node.input[1]}/int8", short)
        sums = self._as(node, "MatMulInteger", [x, columns, zero], bare=True)
        sums = self._within(node, "Cast", [sums], to=TensorProto.FLOAT)
        bias, beta = node.input[2] if len(node.input) > 2 else "", _float(node, "beta")
        if bias and beta != 1:
            factor = self._rewriting.constant(f"{node.name}/beta", np.array(beta, np.float32))
            bias = self._within(node, "Mul", [bias, factor])
        scale = np.multiply(scale, _float(node, "alpha"), dtype=np.float32)
        self._scaled(node, sums, (x_scale, scale), bias)

    def _activation(self, value: str, scope: Scope) -> tuple[str, str, str]:
        """A value in uint8, its scale and its zero point; computed once for all that take it."""
        if value not in scope.dynamic:
            names = [self._rewriting.name(f"{value}/{part}") for part in ("uint8", "scale", "zero")]
            made = helper.make_node("DynamicQuantizeLinear", [value], names)
            made.name = self._rewriting.name(f"{value}/quantise")
            self._made.append(made)
            scope.dynamic[value] = (names[0], names[1], names[2])
        return scope.dynamic[value]

    def _spread(self, bias: str, axes: int, node: NodeProto, scope: Scope) -> str:
        """A bias of [filters] that broadcasts over pixels."""
        tensor = scope.constant(bias)
        if tensor is not None:
            array = self._rewriting.array(tensor).reshape(-1, *(1,) * axes)
            return self._rewriting.constant(f"{bias}/spread", array)
        shape = np.array([-1, *(1,) * axes], np.int64)
        return self._within(
            node, "Reshape", [bias, self._rewriting.constant(f"{bias}/shape", shape)]
        )

    def _scaled(self, node: NodeProto, sums: str, scales: tuple[str, Array], bias: str) -> None:
        """The sums in the tensor's own numbers, as the product gave them."""
        constant = self._rewriting.constant(f"{node.name}/scales", scales[1])
        factor = self._within(node, "Mul", [scales[0], constant])
        value = self._within(node, "Mul", [sums, factor], "" if bias else node.output[0])
        if bias:
            self._within(node, "Add", [value, bias], node.output[0])

    def _as(self, node: NodeProto, op: str, inputs: list[str], bare: bool = False) -> str:
        """The product itself under its own name; what it gives."""
        result = self._rewriting.name(f"{node.output[0]}/sum")
        made = helper.make_node(op, inputs, [result], name=node.name)
        if not bare:
            made.attribute.extend(node.attribute)
        self._made.append(made)
        return result

    def _within(
        self, node: NodeProto, op: str, inputs: list[str], result: str = "", **attributes: Any
    ) -> str:
        """A node that is part of the product; what it gives."""
        output = result or self._rewriting.name(f"{node.output[0]}/{op}")
        made = helper.make_node(op, inputs, [output], **attributes)
        made.name = self._rewriting.name(f"{node.name}/{op}")
        self._rewriting.take_in([made.name], node.name)
        self._made.append(made)
        return output


def is_exact_in_float(filters: Array) -> bool:
    """Whether float32 sums of these int8 filters [filters, …] with uint8 numbers are exact.

    A partial sum of a filter, in whatever order, is at most 255 times the sum of its sizes; up to
    2^24 every integer is a float32.
    """
    sizes = np.abs(filters.astype(np.int64)).reshape(filters.shape[0], -1).sum(axis=1)
    return bool(255 * sizes.max(initial=0) <= _EXACT)


def quantise(weight: Array, axis: int) -> tuple[Array, Array]:
    """Weights in int8, and the scale of each channel along an axis. A channel of zeros has 1."""
    others = tuple(each for each in range(weight.ndim) if each != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True).astype(np.float32)
    scale = np.where(largest > 0, largest / np.float32(_MOST), np.float32(1))
    # The smallest numbers of all have no scale of their own.
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    short = np.clip(np.rint(weight / scale), -_MOST, _MOST).astype(np.int8)
    return short, scale.reshape(-1).astype(np.float32)


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)


def _float(node: NodeProto, name: str) -> float:
    return next((float(each.f) for each in node.attribute if each.name == name), 1.0)
