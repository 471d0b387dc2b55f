"""Types and shapes of a graph's values, as far as they are known before it runs.

ONNX's own shape inference, strict: what contradicts itself is refused by the name of its node.
What a model says of its inner values is left aside, since exporters leave stale notes behind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from host_daemon.compiler import blame, graphs, weights
from vaccel.errors import InvalidModel
from vaccel.model import Array, Shape

# A node that has no name of its own: one of an operator's function, since those of a model do.
_WITHIN: Final = re.compile(r"\(op_type:[^,()]*\)")
# Types of less than a byte, in bits.
_BITS: Final[dict[int, int]] = {
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.FLOAT4E2M1: 4,
}


@dataclass(frozen=True, slots=True)
class Inferred:
    """Of a tensor: its ONNX type, and its dimensions where all are known."""

    kind: int
    shape: Shape | None

    @property
    def nbytes(self) -> int | None:
        """Bytes, where they are known; strings count as nothing."""
        return None if self.shape is None else bytes_of(self.kind, self.shape)


def bytes_of(kind: int, shape: Shape) -> int:
    """Bytes of a tensor of an ONNX type; 0 for strings and for what has no size."""
    if kind in (TensorProto.STRING, TensorProto.UNDEFINED):
        return 0
    bits = _BITS.get(kind)
    if bits is None:
        try:
            bits = 8 * int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
        except (KeyError, TypeError, ValueError):
            bits = 8
    return int(-(-math.prod(shape) * bits // 8))


def infer(
    model: ModelProto,
    inputs: Mapping[str, Shape] | None = None,
    values: Mapping[str, Array] | None = None,
) -> dict[str, Inferred]:
    """What is known of the main graph's values, weights included.

    ``inputs`` are shapes of a launch, in place of what the model says of its inputs; ``values``
    those of inputs that decide shapes. Raises InvalidModel naming a node whose operands contradict
    each other.
    """
    shown = weights.as_inputs(model)
    del shown.graph.value_info[:]
    densify(shown.graph)
    for value in shown.graph.input:
        if inputs is not None and value.name in inputs and value.type.HasField("tensor_type"):
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, inputs[value.name]))
    # A default counts in launches that leave its input out, and has to fit what takes it.
    given = {value.name for value in shown.graph.input if inputs is None or value.name in inputs}
    defaults = given & {tensor.name for tensor in model.graph.initializer}
    if defaults and inputs is None:
        _inferred(shown, model)
    weights.forget_defaults(shown.graph, {v.name for v in shown.graph.input} - defaults)
    for name, array in (values or {}).items():
        shown.graph.initializer.append(numpy_helper.from_array(array, name))
    if inputs is not None:
        # They may be named for the shapes that the exporter saw.
        for value in shown.graph.output:
            value.type.tensor_type.ClearField("shape")
    found = _inferred(shown, model)
    graph = found.graph
    known = {
        value.name: each
        for value in (*graph.input, *graph.value_info, *graph.output)
        if (each := known_of(value)) is not None
    }
    for tensor in model.graph.initializer:
        if tensor.name not in defaults:
            known[tensor.name] = Inferred(tensor.data_type, tuple(tensor.dims))
    return known


def _inferred(shown: ModelProto, model: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(
            shown, check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, MemoryError) as fault:
        text = str(fault)
        if not _WITHIN.search(text):
            raise InvalidModel(blame.reason(text, graphs.nodes(model.graph))) from fault
    # Within an operator's own function: ONNX's fault as often as the model's.
    try:
        return onnx.shape_inference.infer_shapes(shown, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, MemoryError) as fault:
        raise InvalidModel(blame.reason(str(fault), graphs.nodes(model.graph))) from fault


def densify(graph: GraphProto) -> None:
    """Sparse weights as inputs: whoever takes one sees it dense."""
    for sparse in graph.sparse_initializer:
        kind, dims = sparse.values.data_type, tuple(sparse.dims)
        graph.input.append(helper.make_tensor_value_info(sparse.values.name, kind, dims))
    del graph.sparse_initializer[:]


def known_of(value: ValueInfoProto) -> Inferred | None:
    """What a graph says of a value; None where it is no tensor."""
    if value.type.WhichOneof("value") != "tensor_type":
        return None
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    # Some exporters write -1 for a dimension that they do not know.
    known = tensor.HasField("shape") and all(
        dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0 for dim in dims
    )
    return Inferred(tensor.elem_type, tuple(dim.dim_value for dim in dims) if known else None)
