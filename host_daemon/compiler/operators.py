"""Operators that are written as others before anything looks at them.

What an opset says otherwise than ONNX Runtime's kernels take it: operators of the newest opsets in
those of the one before, operands along an axis of the oldest ones, groups of normalisations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from host_daemon.compiler import graphs, weights

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
# The opsets of a GroupNormalization that ONNX deprecated before it had another one.
_TAKEN_BACK: Final = (18, 20)


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


# What broadcasts from an axis on before opset 7.
_FROM_AXIS: Final = frozenset(
    ["Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"]
)


def spread_operands(model: ModelProto) -> None:
    """Give second operands of before opset 7, which lie along an axis, the axes behind it.

    ``onnx.version_converter`` takes a bias of channels for one of images.
    """

    def axes(node: NodeProto, data: int, operand: int) -> range:
        axis = next((a.i for a in node.attribute if a.name == "axis"), None)
        if axis is None:
            return range(0)
        kept = [a for a in node.attribute if a.name != "axis"]
        del node.attribute[:]
        node.attribute.extend(kept)
        return range(operand, data - (axis if axis >= 0 else axis + data))

    _spread(model, _FROM_AXIS, axes)


def spread_slopes(model: ModelProto) -> None:
    """Give slopes of PRelu, one a channel before opset 7, the axes that broadcast since then.

    ``onnx.version_converter`` leaves them as they are.
    """

    def axes(node: NodeProto, data: int, operand: int) -> range:
        return range(1, data - 1 if operand == 1 else 0)

    _spread(model, frozenset({"PRelu"}), axes)


def _spread(
    model: ModelProto, ops: frozenset[str], axes: Callable[[NodeProto, int, int], range]
) -> None:
    """Unsqueeze second operands of ``ops`` by ``axes`` of a node and the ranks of its operands."""
    if not any(node.op_type in ops for node in model.graph.node):
        return
    try:
        shown = onnx.shape_inference.infer_shapes(weights.as_inputs(model)).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*shown.input, *shown.value_info, *shown.output)
        if value.type.tensor_type.HasField("shape")
    }
    ranks |= {tensor.name: len(tensor.dims) for tensor in shown.initializer}
    made: list[NodeProto] = []
    for node in model.graph.node:
        data, operand = (*node.input, "", "")[:2]
        known = node.op_type in ops and data in ranks and operand in ranks
        found = list(axes(node, ranks[data], ranks[operand])) if known else []
        if found:
            spread = f"{node.output[0]}/{'slope' if node.op_type == 'PRelu' else 'operand'}"
            made.append(helper.make_node("Unsqueeze", [operand], [spread], axes=found))
            node.input[1] = spread
        made.append(node)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def settle_groups(model: ModelProto) -> None:
    """Write GroupNormalization of opsets 18 to 20, which ONNX took back, with what stayed.

    It has a scale and a bias for each group, as InstanceNormalization for each channel; since opset
    21 it has them for each channel, too. No shape of x is looked at here.
    """
    if not _TAKEN_BACK[0] <= _opset_of(model) <= _TAKEN_BACK[1]:
        return
    for at in graphs.graphs(model.graph):
        if not any(_is_grouped(node) for node in at.graph.node):
            continue
        made: list[NodeProto] = []
        for node in at.graph.node:
            made += _as_instances(node) if _is_grouped(node) else (node,)
        kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
        del at.graph.node[:]
        at.graph.node.extend(kept)


def _is_grouped(node: NodeProto) -> bool:
    operands = len(node.input) == 3 and len(node.output) == 1
    return node.op_type == "GroupNormalization" and node.domain in ("", "ai.onnx") and operands


def _as_instances(node: NodeProto) -> list[NodeProto]:
    x, scale, bias = node.input
    base = f"{node.output[0]}/groups"
    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    groups = np.array([0, settings.get("num_groups", 1), -1], np.int64)
    given = helper.make_node(
        "InstanceNormalization",
        [f"{base}/x", scale, bias],
        [f"{base}/y"],
        name=node.name,
        epsilon=settings.get("epsilon", 1e-5),
    )
    return [
        helper.make_node("Constant", [], [f"{base}/to"], value=numpy_helper.from_array(groups)),
        helper.make_node("Reshape", [x, f"{base}/to"], [f"{base}/x"]),
        given,
        helper.make_node("Shape", [x], [f"{base}/sizes"]),
        helper.make_node("Reshape", [f"{base}/y", f"{base}/sizes"], list(node.output)),
    ]


def _opset_of(model: ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
