"""Operands and results that a model leaves out, written so that ONNX Runtime takes them.

ONNX writes what is left out as "". ORT 1.32 follows a null pointer where a result of ``Split`` or
``Loop`` is left out, or one of a training ``BatchNormalization``, where ``Max`` lacks an operand,
or where ``LayerNormalization`` names its bias as "".
"""

from __future__ import annotations

from typing import Any, Final

import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto

from host_daemon.compiler import graphs
from vaccel.errors import InvalidModel

_OPTION: Final = onnx.defs.OpSchema.FormalParameterOption


def settle(model: ModelProto) -> None:
    """Write out what is left out, in nested graphs too; nodes have names of their own already.

    Results that every run makes get names that nobody uses, operands at the end go. Raises
    InvalidModel naming a node whose list of operands has a hole.
    """
    taken = {name for node in graphs.nodes(model.graph) for name in node.output}
    opsets = {each.domain or "ai.onnx": each.version for each in model.opset_import}
    schemas: dict[tuple[str, str], Any] = {}
    for node in graphs.nodes(model.graph):
        if "" not in node.output and "" not in node.input:
            continue
        key = node.domain or "ai.onnx", node.op_type
        if key not in schemas:
            schemas[key] = _schema(node, opsets.get(key[0], 1))
        if schemas[key] is not None:
            _settle_operands(node, schemas[key])
            _settle_results(node, schemas[key], taken)


def check_types(model: ModelProto) -> None:
    """Raise InvalidModel naming an input or an output of the main graph that has no type."""
    for noun, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            kind = value.type.WhichOneof("value")
            if kind is None or (kind == "tensor_type" and not value.type.tensor_type.elem_type):
                raise InvalidModel(
                    f"{noun} {graphs.printable(value.name)} has no type",
                    hint="state the type of each input and output",
                )


def merge_outputs(model: ModelProto) -> None:
    """List each output once. Raises InvalidModel naming one that is said to be of two types."""
    seen: dict[str, ValueInfoProto] = {}
    for value in model.graph.output:
        if seen.setdefault(value.name, value) != value:
            raise InvalidModel(
                f"output {graphs.printable(value.name)} is listed twice, as different types or"
                " shapes",
                hint="list it once",
            )
    if len(seen) != len(model.graph.output):
        kept = [ValueInfoProto.FromString(each.SerializeToString()) for each in seen.values()]
        del model.graph.output[:]
        model.graph.output.extend(kept)


def _schema(node: NodeProto, opset: int) -> Any:
    """The operator's schema; None where ONNX has none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        return onnx.defs.get_schema(node.op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None


def _settle_operands(node: NodeProto, schema: Any) -> None:
    last = len(schema.inputs) - 1
    if last >= 0 and schema.inputs[last].option == _OPTION.Variadic:
        for index, name in enumerate(node.input):
            if index >= last and not name:
                raise InvalidModel(f"node {graphs.title(node)}: its operand {index} is left out")
    while len(node.input) > schema.min_input and not node.input[-1]:
        del node.input[-1]


def _settle_results(node: NodeProto, schema: Any, taken: set[str]) -> None:
    for index, name in enumerate(node.output):
        option = schema.outputs[min(index, len(schema.outputs) - 1)].option
        made = option != _OPTION.Optional or _trains(node)
        if not name and made:
            unused = f"{node.name}/unused{index}"
            while unused in taken:
                unused += "_"
            taken.add(unused)
            node.output[index] = unused


def _trains(node: NodeProto) -> bool:
    """Whether it is a normalisation that gives its running mean and variance."""
    return node.op_type == "BatchNormalization" and any(
        a.name == "training_mode" and a.i for a in node.attribute
    )
