"""Opsets of models: which a model is of, and another one for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from onnx import ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto, defs

from host_daemon.compiler import blame, contributed, graphs, weights
from host_daemon.compiler.weights import Weights
from vaccel.errors import Unsupported

# The IR version from which on an initializer need not be an input.
_CONSTANTS: Final = 4


# What a model counts as that uses no operator of ONNX's own domain: the worker's own nodes take it.
_SPARE: Final = 17
_ONNX: Final = ("", "ai.onnx")
# What the converter says of its own sources before it says what is wrong.
_ASSERTION: Final = re.compile(r"\S+\.(?:cc|h):\d+: \w+: Assertion `[^`]*` failed: ")
_ML: Final = "ai.onnx.ml"


@cache
def newest() -> Mapping[str, int]:
    """The newest version known of each domain that has versions; ONNX's own as ``ai.onnx``."""
    of_ml = max(each.since_version for each in defs.get_all_schemas() if each.domain == _ML)
    return {
        "ai.onnx": defs.onnx_opset_version(),
        _ML: of_ml,
        contributed.DOMAIN: contributed.VERSION,
    }


def settle_imports(model: ModelProto) -> None:
    """Import what nodes use, once, and nothing else.

    Exporters list domains that they might have used, in versions that nobody else knows. As ONNX
    Runtime does, the last of two versions counts, and com.microsoft and ai.onnx.ml need no import.
    """
    called = [node for function in model.functions for node in function.node]
    used = _domains([*model.graph.node, *called])
    for domain in (contributed.DOMAIN, _ML):
        if domain in used and domain not in {each.domain for each in model.opset_import}:
            model.opset_import.add(domain=domain, version=newest()[domain])
    _keep(model.opset_import, used)
    if "" not in used:
        model.opset_import.add(domain="", version=_SPARE)
    for function in model.functions:
        _keep(function.opset_import, _domains(function.node))


def _domains(nodes: Iterable[NodeProto]) -> set[str]:
    """Domains of nodes, nested ones included; ONNX's own as ""."""
    found: set[str] = set()
    for node in nodes:
        found.add(_plain(node.domain))
        for body in graphs.subgraphs(node):
            found |= {_plain(inner.domain) for inner in graphs.nodes(body)}
    return found


def _keep(imports: Any, used: set[str]) -> None:
    kept = {_plain(each.domain): each.version for each in imports if _plain(each.domain) in used}
    del imports[:]
    imports.extend(OperatorSetIdProto(domain=name, version=kept[name]) for name in kept)


def _plain(domain: str) -> str:
    return "" if domain in _ONNX else domain


def settle_constants(model: ModelProto) -> None:
    """Read the weights of a model of IR version 3 as ONNX Runtime does: as constants.

    Since version 4 they need not be inputs, and are defaults where they are; before they had to be.
    Some exporters left them out even then.
    """
    if model.ir_version >= _CONSTANTS:
        return
    names = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in names]
    if names:
        model.ir_version = _CONSTANTS
    if len(kept) < len(model.graph.input):
        kept = [ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
        del model.graph.input[:]
        model.graph.input.extend(kept)


def is_of(model: ModelProto, least: int) -> bool:
    """Whether a model is of this opset of ONNX, or of a newer one."""
    return all(o.version >= least for o in model.opset_import if o.domain in ("", "ai.onnx"))


def converted(model: ModelProto, apart: Weights, opset: int) -> ModelProto:
    """A model of an older opset in this one; what was given is not to be used any more.

    Raises Unsupported where ONNX's converter cannot.
    """
    from onnx import version_converter

    weights.unmark(model)
    try:
        made = version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, MemoryError) as fault:
        text = _ASSERTION.sub("", blame.plain(str(fault)))
        raise Unsupported(
            f"model is of an opset before {opset} and cannot be converted to it: {text}",
            hint="export it with a newer opset",
        ) from fault
    weights.mark(made, apart)
    return made


def renamed(model: ModelProto, opset: int) -> ModelProto | None:
    """A model as one of a newer opset, where that only took up its operators for more types.

    None where an operator has other operands, attributes or defaults since. Nested graphs are no
    matter, which ONNX's converter leaves as they are.
    """
    before = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    kinds = {n.op_type for n in graphs.nodes(model.graph) if n.domain in ("", "ai.onnx")}
    if any(_form(kind, before) != _form(kind, opset) for kind in kinds):
        return None
    made = ModelProto()
    made.CopyFrom(model)
    for each in made.opset_import:
        if each.domain in ("", "ai.onnx"):
            each.version = opset
    return made


def _form(kind: str, opset: int) -> Any:
    """What an operator is in an opset, but for the types that it takes; by itself where unknown."""
    try:
        schema = defs.get_schema(kind, opset, "")
    except defs.SchemaError:
        return object()
    ports = [(each.name, each.option) for each in (*schema.inputs, *schema.outputs)]
    settings = {
        name: (each.type, each.required, each.default_value.SerializeToString())
        for name, each in schema.attributes.items()
    }
    return schema.deprecated, len(schema.inputs), ports, settings
