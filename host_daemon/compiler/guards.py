"""Recurrences over nothing, stopped before they run.

ONNX Runtime 1.32 aborts the process where a GRU or an LSTM gets a tensor without elements, and
divides by zero in a GroupQueryAttention of no batch. Within a branch or a loop, and behind what
picks elements by value, no shape is known before it is there. So each of them takes its first
operand through a few nodes that look at its shape, and fail as any node fails::

    sizes = Shape(x);  none = ReduceProd(sizes) == 0;  x' = Reshape(x, sizes + [0][none])

``[0][1]`` is out of bounds. Where shapes are fixed, ONNX Runtime folds all of it away.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from host_daemon.compiler import graphs
from vaccel.errors import InvalidArgument, InvalidModel, VaccelError

# What a launch's trace leaves out, and no node of a model is called.
PREFIX: Final = "Elements_"
_GUARDED: Final = {
    **dict.fromkeys(("", "ai.onnx"), frozenset({"RNN", "GRU", "LSTM"})),
    "com.microsoft": frozenset({"DynamicQuantizeLSTM", "GroupQueryAttention", "SparseAttention"}),
}
_STOPPED: Final = re.compile(rf"{PREFIX}(.+?)/(?:sizes|all|some|none|which|stop|to|x)\b")


def guarded(model: ModelProto) -> ModelProto:
    """The model with guards where they are needed; itself where they are not."""
    if not any(map(_is_guarded, graphs.nodes(model.graph))):
        return model
    made = ModelProto()
    made.CopyFrom(model)
    for at in list(graphs.graphs(made.graph))[::-1]:
        _guard(at.graph)
    return made


def named(fault: VaccelError) -> VaccelError:
    """An error in its own words where a guard raised it."""
    found = _STOPPED.search(fault.message)
    if found is None:
        return fault
    kind = InvalidModel if isinstance(fault, InvalidModel) else InvalidArgument
    return kind(
        f"node {found[1]!r} runs over nothing: an operand has no elements",
        hint="give at least one step and one sequence",
    )


def _is_guarded(node: NodeProto) -> bool:
    return node.op_type in _GUARDED.get(node.domain, ())


def _guard(graph: GraphProto) -> None:
    if not any(map(_is_guarded, graph.node)):
        return
    made: list[NodeProto] = []
    for node in graph.node:
        if _is_guarded(node):
            made += _checks(node)
        made.append(node)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(kept)


def _checks(node: NodeProto) -> list[NodeProto]:
    """The nodes before a guarded one, which from now on takes what they give."""
    base = PREFIX + node.name
    zero = numpy_helper.from_array(np.zeros(1, np.int64))
    steps: list[NodeProto] = []

    def step(op: str, name: str, *inputs: str, **attributes: object) -> str:
        result = f"{base}/{name}"
        made = helper.make_node(op, list(inputs), [result], name=result)
        made.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        steps.append(made)
        return result

    x = node.input[0]
    sizes = step("Shape", "sizes", x)
    product = step("ReduceProd", "all", sizes, keepdims=0)
    some = step("Cast", "some", product, to=TensorProto.BOOL)
    none = step("Not", "none", some)
    index = step("Cast", "which", none, to=TensorProto.INT64)
    stop = step("Gather", "stop", step("Constant", "zero", value=zero), index)
    node.input[0] = step("Reshape", "x", x, step("Add", "to", sizes, stop))
    return steps
