"""Nodes that are put beside a node of a model: computed for its sake, and none of the model's."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

# What a launch's trace leaves out, and no node of a model is called.
PREFIX: Final = "Elements_"


class Steps:
    """Those of one node, in their order. ``what`` tells them from others of the same node."""

    def __init__(self, node: NodeProto, what: str) -> None:
        self.made: list[NodeProto] = []
        self._base = f"{PREFIX}{node.name}//{what}"

    def name(self, of: str) -> str:
        """A name of a step and of its result."""
        return f"{self._base}.{of}"

    def add(self, op: str, of: str, *inputs: str, result: str = "", **attributes: object) -> str:
        """Add a node; the name of its result, which it gives itself where none is given."""
        result = result or self.name(of)
        made = helper.make_node(op, list(inputs), [result], name=self.name(of))
        made.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.made.append(made)
        return result

    def constant(self, of: str, value: np.ndarray[Any, Any]) -> str:
        """Add a constant."""
        return self.add("Constant", of, value=numpy_helper.from_array(value))

    def stop(self, which: str) -> str:
        """A node "stop" that fails where ``which``, an index, is none of one element: 0."""
        return self.add("Gather", "stop", self.constant("zero", np.zeros(1, np.int64)), which)

    def stopping(self, x: str, sizes: str, good: str, result: str = "") -> str:
        """``x`` of its ``sizes`` where all is ``good``; else the node "stop" fails."""
        bad = self.add("Not", "none", good)
        stop = self.stop(self.add("Cast", "which", bad, to=TensorProto.INT64))
        return self.add("Reshape", "x", x, self.add("Add", "to", sizes, stop), result=result)
