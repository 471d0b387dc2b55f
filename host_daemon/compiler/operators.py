"""Operators that ONNX defines by a graph, and that are worth being written out as it.

ONNX Runtime writes out what it has no kernel for by itself, but then its nodes have no attributes
that anyone could see: the arrays' products among them would be costed as unknown.
"""

from __future__ import annotations

from typing import Final

from onnx import ModelProto

from host_daemon.compiler import graphs

# Those of opset 27 that hold products and have no kernel in ONNX Runtime 1.32.
_WRITTEN_OUT: Final = frozenset({"CausalConvWithState", "LinearAttention"})


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
