"""From a checked model to one whose products are in the arithmetic that was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from host_daemon.compiler import frontend, graphs
from host_daemon.compiler.analysis import Analysis, analyse
from host_daemon.compiler.arithmetic import floats, integers
from host_daemon.compiler.arithmetic.floats import Floats
from host_daemon.compiler.arithmetic.integers import Integers
from host_daemon.compiler.arithmetic.rewriting import (
    Rewriting,
    Scope,
    inner,
    note_constant,
    replace_nodes,
)
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.placement import PLAIN, Placement
from host_daemon.compiler.quantised import Quantised, find_quantised, stated
from host_daemon.core.device import ARITHMETIC, DeviceModel, Rounding, Rounds
from vaccel.errors import Unsupported, VaccelError
from vaccel.model import DType


def legalise(
    model: CheckedModel, asked: str, device: DeviceModel, analysis: Analysis
) -> tuple[CheckedModel, Analysis]:
    """The model to compile, and its analysis; both as they are where nothing is ``asked``.

    Products of float32 get the arithmetic, but for those that are quantised already or state one of
    their own. Raises Unsupported for an arithmetic that the device's arrays lack.
    """
    if not asked:
        return model, analysis
    if asked == PLAIN:
        made = _plainly(model, device)
        return made, analyse(made.proto)
    if asked not in device.arithmetic:
        raise Unsupported(
            f"a model in {asked[:80]!r}: the device's arrays do not compute in it",
            hint="they do in " + ", ".join(device.arithmetic),
        )
    if asked == "int4":
        raise Unsupported(
            "a model in 'int4': four bits take scales that are chosen with care",
            hint="quantise it before, or load it in int8",
        )
    # What a device keeps of it is not what it keeps of the plain model.
    named = hashlib.sha256(f"{model.sha256}/{asked}".encode()).hexdigest()
    model = replace(model, sha256=named)
    rounding = device.roundings.get(asked) if isinstance(device, Rounds) else None
    if rounding is None:
        made = _stating(model, asked, device)
        return made, analyse(made.proto)
    least = integers.OPSET if rounding.operand is DType.INT8 else _opset(rounding)
    made, found = _rewritten(frontend.in_opset(model, least), asked, rounding)
    analysis = analyse(made.proto)
    return made, replace(analysis, quantised=_both(analysis.quantised, found))


def _opset(rounding: Rounding) -> int:
    return max(floats.OPSETS.get(each, 7) for each in (rounding.operand, rounding.result))


def _both(one: Quantised, other: Quantised) -> Quantised:
    return Quantised(
        {**one.arithmetic, **other.arithmetic},
        one.requantised | other.requantised,
        {**one.around, **other.around},
    )


def _rewritten(
    model: CheckedModel, asked: str, rounding: Rounding
) -> tuple[CheckedModel, Quantised]:
    rewriting = Rewriting(model)
    writer: Floats | Integers = (
        Integers(rewriting)
        if rounding.operand is DType.INT8
        else Floats(rewriting, asked, rounding)
    )
    _Walk(writer, frozenset(find_quantised(model.proto).arithmetic)).main(rewriting)
    return rewriting.done()


class _Walk:
    """Goes through a graph and all that is nested in it, in order."""

    def __init__(self, writer: Floats | Integers, quantised: frozenset[str]) -> None:
        self._writer = writer
        self._quantised = quantised

    def main(self, rewriting: Rewriting) -> None:
        scope, shown = rewriting.root()
        self._graph(rewriting.proto.graph, shown, scope)

    def _graph(self, graph: GraphProto, shown: GraphProto, scope: Scope) -> None:
        made: list[NodeProto] = []
        for node, seen in zip(graph.node, shown.node, strict=True):
            for body, within in zip(graphs.subgraphs(node), graphs.subgraphs(seen), strict=True):
                self._graph(body, within, inner(scope, body, within))
            note_constant(node, scope)
            written = self._writer.product(node, scope) if self._is_meant(node, scope) else []
            if not written:
                self._writer.other(node, scope)
            made += written or [node]
        replace_nodes(graph, made)

    def _is_meant(self, node: NodeProto, scope: Scope) -> bool:
        return is_plain(node, scope) and node.name not in self._quantised


def is_plain(node: NodeProto, scope: Scope) -> bool:
    """Whether a node is a product of float32 that says nothing of its arithmetic."""
    if node.op_type not in floats.PRODUCTS or node.domain not in ("", "ai.onnx"):
        return False
    if len(node.input) < 2 or stated(node):
        return False
    kinds = {scope.kind(name) for name in (*node.input[:2], node.output[0])} - {0}
    return kinds == {TensorProto.FLOAT}


# --- devices that compute nodes themselves ----------------------------------------------------


def _stating(model: CheckedModel, asked: str, device: DeviceModel) -> CheckedModel:
    """The model with a statement at each product of the main graph that the device then computes:
    its arithmetic is not the common kernels'.
    """
    rewriting = Rewriting(model)
    scope, _ = rewriting.root()
    quantised = find_quantised(model.proto).arithmetic
    meant = [
        node
        for node in rewriting.proto.graph.node
        if is_plain(node, scope) and node.name not in quantised
    ]
    for node in meant:
        node.metadata_props.add(key=ARITHMETIC, value=asked)
    taken = set(_computed(rewriting.proto, meant, device))
    for node in meant:
        if node.name not in taken:
            kept = [each for each in node.metadata_props if each.key != ARITHMETIC]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)
    return replace(model, proto=rewriting.proto)


def _plainly(model: CheckedModel, device: DeviceModel) -> CheckedModel:
    """The model with float32 stated wherever the device would compute it in something else."""
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    nodes = [node for node in proto.graph.node if not stated(node)]
    placement, analysis = Placement.of_nothing(proto), analyse(proto)
    for node in nodes:
        operation = placement.operation(node, analysis)
        first = operation.inputs[0] if operation.inputs else None
        if first is not None and first[0] is DType.FLOAT32 and device.computes(operation):
            node.metadata_props.add(key=ARITHMETIC, value=PLAIN)
    return replace(model, proto=proto)


def _computed(
    proto: ModelProto, meant: list[NodeProto], device: DeviceModel
) -> Iterator[str]:
    analysis = analyse(proto)
    placement = Placement.of_nothing(proto)
    for node in meant:
        try:
            if device.computes(placement.operation(node, analysis)):
                yield node.name
        except VaccelError:
            continue
