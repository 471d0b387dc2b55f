"""Nodes that ONNX Runtime has no kernel for, computed by ONNX's own reference implementation.

They are NumPy on the shapes that a tenant chose: slow, and bounded by the worker's limits on memory
and by its being one VF's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
from onnx.reference import ReferenceEvaluator

from host_daemon.compiler.graphs import title
from host_daemon.compiler.steering import RANDOM_OPS
from vaccel.errors import Exhausted, InvalidArgument, Unsupported, VaccelError


# A condition that no model can name.
_ALWAYS: Final = "\0always"


class ReferenceNode:
    """One node, containers with their graphs included. Raises Unsupported where ONNX has no
    reference for it.
    """

    def __init__(self, node: NodeProto, model: ModelProto, takes: Sequence[str]) -> None:
        self._title = title(node)
        self._gives = [name for name in node.output if name]
        self._given: dict[str, Any] = {}
        graph = GraphProto(name="node", node=[self._complete(node)])
        graph.input.extend(ValueInfoProto(name=name) for name in (*takes, *self._given))
        graph.output.extend(ValueInfoProto(name=name) for name in self._gives)
        alone = ModelProto(ir_version=model.ir_version, graph=graph)
        alone.opset_import.extend(model.opset_import)
        if node.op_type == "ImageDecoder" and find_spec("PIL") is None:
            raise Unsupported(
                f"node {self._title}: this host decodes no images: it has no Pillow",
                hint="decode the image before, and give the model its pixels",
            )
        if node.op_type in RANDOM_OPS:
            # Workers are forked: they must not all draw the same numbers.
            np.random.seed()
        try:
            self._evaluator = ReferenceEvaluator(alone)
        except Exception as fault:
            raise Unsupported(
                f"node {self._title}: no kernel computes it on this host: {_text(fault)}",
                hint="write it with other operators",
            ) from fault

    def _complete(self, node: NodeProto) -> NodeProto:
        """A loop without a condition, given one: the reference takes its absence for no turn."""
        if node.op_type != "Loop" or (len(node.input) > 1 and node.input[1]):
            return node
        made = NodeProto()
        made.CopyFrom(node)
        made.input.extend([""] * (2 - len(made.input)))
        made.input[1] = _ALWAYS
        self._given[_ALWAYS] = np.array(True)
        return made

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Results by name. Raises InvalidArgument naming the node where the inputs do not suit."""
        try:
            with np.errstate(all="ignore"):
                results = self._evaluator.run(None, {**inputs, **self._given})
        except MemoryError as fault:
            raise Exhausted(f"node {self._title} ran out of memory: {_text(fault)}") from fault
        except ImportError as fault:
            raise Unsupported(f"node {self._title}: {_text(fault)}") from fault
        except VaccelError:
            raise
        except Exception as fault:  # what NumPy raises depends on what a tenant gave
            raise InvalidArgument(f"launch failed: node {self._title}: {_text(fault)}") from fault
        return {n: _plain(each) for n, each in zip(self._gives, results, strict=True)}


def _plain(value: Any) -> Any:
    """A result as others take it: the reference may give NumPy scalars and tuples."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, dict):
        return value
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array


def _text(fault: BaseException) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(fault) or type(fault).__name__)
    return " ".join(text.split())[:400]
