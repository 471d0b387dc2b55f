"""Operators that are written as others before anything looks at them.

Some ONNX defines by a graph. ONNX Runtime writes out what it has no kernel for by itself, but then
its nodes have no attributes that anyone could see: the arrays' products among them would be costed
as unknown.
"""

from __future__ import annotations

from typing import Final

import onnx
from onnx import ModelProto, NodeProto, helper

from host_daemon.compiler import graphs, weights

# Those of opset 27 that hold products and have no kernel in ONNX Runtime 1.32.
_WRITTEN_OUT: Final = frozenset({"CausalConvWithState", "LinearAttention"})


# What opset 28 took up again only to allow more types (their documents, "Type Constraints").
_WIDENED: Final = frozenset(
    {
        "Cast",
        "Celu",
        "Compress",
        "DequantizeLinear",
        "Einsum",
        "OneHot",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "QuantizeLinear",
        "ReverseSequence",
        "Unique",
    }
)
_NEWEST: Final = 28


def in_opset_before(model: ModelProto) -> ModelProto | None:
    """A model of opset 28 that is one of opset 27 as well, as such; None where it is none.

    ONNX Runtime 1.32 knows the operators of opset 28, and has kernels of 27 for most.
    """
    opsets = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if [each.version for each in opsets] != [_NEWEST]:
        return None
    for node in graphs.nodes(model.graph):
        if node.domain in ("", "ai.onnx") and node.op_type not in _WIDENED:
            schema = onnx.defs.get_schema(node.op_type, _NEWEST, "")
            if schema.since_version == _NEWEST:
                return None
    made = ModelProto()
    made.CopyFrom(model)
    for each in made.opset_import:
        if each.domain in ("", "ai.onnx"):
            each.version = _NEWEST - 1
    try:
        shown = weights.as_inputs(made)
        onnx.shape_inference.infer_shapes(shown, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return None  # a type that is new
    return made


def spread_slopes(model: ModelProto) -> None:
    """Give slopes of PRelu, one a channel before opset 7, the axes that broadcast since then.

    ``onnx.version_converter`` leaves them as they are.
    """
    nodes = [node for node in model.graph.node if node.op_type == "PRelu"]
    if not nodes:
        return
    try:
        shown = onnx.shape_inference.infer_shapes(weights.as_inputs(model)).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*shown.input, *shown.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    ranks |= {tensor.name: len(tensor.dims) for tensor in shown.initializer}
    made: list[NodeProto] = []
    for node in model.graph.node:
        data, slope = (*node.input, "", "")[:2]
        axes = list(range(1, ranks.get(data, 0) - 1))
        if node.op_type == "PRelu" and ranks.get(slope) == 1 and axes:
            spread = f"{node.output[0]}/slope"
            made.append(helper.make_node("Unsqueeze", [slope], [spread], axes=axes))
            node.input[1] = spread
        made.append(node)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def write_out(model: ModelProto) -> ModelProto:
    """The model with such operators replaced by their graphs; as it is where that fails."""
    names = {node.op_type for node in graphs.nodes(model.graph)} & _WRITTEN_OUT
    if not names:
        return model
    from onnx import inliner

    try:
        ids = [("", name) for name in sorted(names)]
        return inliner.inline_selected_functions(model, ids, False, True)
    except (RuntimeError, ValueError):
        return model  # types that it needs are not known: ORT may still run it
