"""The operands of a kernel that its model holds: what a device may keep where it computes."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, numpy_helper

from host_daemon.compiler.analysis import Analysis
from host_daemon.compiler.signature import FROM_ONNX
from host_daemon.core.device import Operation
from vaccel.model import Array, DType, Shape


def constant_operation(
    model: ModelProto, analysis: Analysis
) -> tuple[Operation | None, Mapping[int, Array]]:
    """The one node of a model with its constant operands by place; None where it has none.

    A dimension that is not known yet is -1.
    """
    (node,) = model.graph.node
    info = analysis.nodes[node.name]
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    overridable = {value.name for value in model.graph.input}
    weights = {
        index: numpy_helper.to_array(tensors[name])
        for index, name in enumerate(node.input)
        if name in tensors and name not in overridable and tensors[name].data_type in FROM_ONNX
    }
    if not weights:
        return None, {}
    inputs = [
        (DType(weights[index].dtype.name), tuple(weights[index].shape))
        if index in weights
        else _declared(model, name)
        for index, name in enumerate(node.input)
    ]
    outputs = tuple(None for _ in node.output)
    kept = frozenset(weights)
    return (
        Operation(info.op, tuple(inputs), outputs, info.attributes, kept, info.domain),
        weights,
    )


def _declared(model: ModelProto, name: str) -> tuple[DType, Shape] | None:
    for value in model.graph.input:
        tensor = value.type.tensor_type
        if value.name == name and tensor.elem_type in FROM_ONNX:
            dims = tensor.shape.dim
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
            return FROM_ONNX[tensor.elem_type], shape
    return None
