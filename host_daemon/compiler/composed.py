"""Nodes that ONNX Runtime writes out as graphs, since it has no kernel of its own for them.

What it makes of them has no names, so an error within says ``node '' (Reshape)``. Here it gets the
name of the model's node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import onnx
from onnx import NodeProto

from host_daemon.compiler.graphs import printable
from vaccel.errors import VaccelError

# One or several, since what is written out may hold such nodes again.
_NAMELESS: Final = re.compile(r"(?:node '' \((\w+)\): ?)+")
_LISTED: Final = 4


def named(fault: VaccelError, nodes: Iterable[NodeProto]) -> VaccelError:
    """An error with the names of those of ``nodes`` that it can be about, in place of none."""
    nameless = _NAMELESS.search(fault.message)
    if nameless is None:
        return fault
    written = [node for node in nodes if _may_hold(node.op_type, node.domain, nameless[1])]
    found = [n for n in written if (n.domain, n.op_type) not in _kernels()] or written
    if not found:
        return fault
    listed = ", ".join(printable(node.name) for node in found[:_LISTED])
    ops = ", ".join(dict.fromkeys(node.op_type for node in found[:_LISTED]))
    more = ", ..." if len(found) > _LISTED else ""
    who = f"node {listed}" if len(found) == 1 else f"one of nodes {listed}{more}"

    front, behind = fault.message[: nameless.start()], fault.message[nameless.end() :]
    return type(fault)(f"{front}{who} ({ops}): in its {nameless[1]}: {behind}", hint=fault.hint)


@cache
def _may_hold(op: str, domain: str, inner: str) -> bool:
    """Whether ONNX defines an operator by a graph that may hold another."""
    try:
        schema: Any = onnx.defs.get_schema(op, domain="" if domain == "ai.onnx" else domain)
    except onnx.defs.SchemaError:
        return False
    if schema.has_context_dependent_function:
        return True
    return schema.has_function and any(n.op_type == inner for n in schema.function_body.node)


@cache
def _kernels() -> frozenset[tuple[str, str]]:
    """Operators that the installed ONNX Runtime has kernels for, for some types at least."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return frozenset((each.domain, each.op_name) for each in state.get_all_opkernel_def())
