"""The front end: untrusted bytes in, a checked model out. It never opens a file.

Order matters here: everything that costs little and refuses much comes first. ``wire`` bounds what
protobuf will make of the bytes, and cuts large weights out, so that they are copied once;
``onnx.checker``, which would look for external data on disk, sees a model only after it was found
to refer to nothing outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto

from host_daemon.compiler import (
    blame,
    contributed,
    external,
    functions,
    graphs,
    inference,
    omissions,
    operators,
    opsets,
    sanity,
    symbols,
    weights,
    wire,
)
from host_daemon.compiler.external import Blobs
from host_daemon.compiler.inference import Inferred
from host_daemon.compiler.trace import INSERTED
from host_daemon.compiler.weights import Weights
from vaccel import bounds
from vaccel.errors import InvalidModel, Unsupported

# Opset 7 (2017) is the oldest whose broadcasting is today's: older models are converted to it.
_OLDEST_OPSET = 7
_DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.ms.internal.nhwc",
    }
)
_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
_MODEL_HINT = "export the model as one self-contained .onnx file"


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model that passed. ``weight_bytes`` are of its initializers, ``nodes`` count nested ones
    too. ``proto`` has only places for the large initializers that ``weights`` holds; ``known`` is
    what is known of the main graph's values before any launch.
    """

    proto: ModelProto
    sha256: str
    weight_bytes: int
    nodes: int
    weights: Weights = field(default_factory=dict)
    known: Mapping[str, Inferred] = field(default_factory=dict)


def read(
    data: bytes | memoryview,
    sha256: str = "",
    blobs: Blobs = MappingProxyType({}),
    own: bool = False,
) -> CheckedModel:
    """Parse and check a model of at most bounds.MODEL_BYTES, with ``blobs`` of external data.

    ``sha256`` is theirs (``external.digest``), if it is known already. Bytes are not kept, unless
    they are the model's ``own``: then weights stay where they are, if they are most of it. Raises
    InvalidModel naming what is wrong and where; Unsupported for an opset that this version lacks.
    """
    view = memoryview(data)
    _check_size(view)
    sha256 = sha256 or external.digest(view, blobs)
    skeleton = wire.cut_weights(view)
    model = _parse(skeleton.data, len(view))
    _check_text(model)
    ranges = external.find(model, blobs)
    used = external.union(ranges) + sum(cut.end - cut.start for cut in skeleton.cuts.values())
    # What is kept is charged as weights, so it must hold little else.
    own = own and used * 8 >= 7 * (len(view) + sum(map(len, blobs.values())))
    apart = weights.take(view, skeleton.cuts, model, own)
    if apart.keys() & ranges.keys():
        twice = min(apart.keys() & ranges.keys())
        raise InvalidModel(f"initializer {graphs.printable(twice)} is there twice")
    return admit(model, apart | external.arrays(model, ranges, blobs, own), sha256)


def parse(skeleton: bytes, size: int) -> ModelProto:
    """A model of ``size`` bytes, without its large weights, that refers to nothing outside."""
    model = _parse(skeleton, size)
    _check_text(model)
    external.find(model, {})
    return model


def admit(model: ModelProto, apart: Weights, sha256: str) -> CheckedModel:
    """Check what was parsed, with the weights that were apart from it. Raises as ``read``."""
    # Nothing here trains: what an optimiser would want is not looked at.
    model.ClearField("training_info")
    contributed.register()
    opsets.settle_imports(model)
    _check_opsets(model)
    opsets.settle_constants(model)
    symbols.settle(model)
    weights.mark(model, apart)
    model = _modern(model, apart)
    model = functions.inlined(model)
    # Of a model's own functions nothing is left.
    opsets.settle_imports(model)
    operators.settle_groups(model)
    weight_bytes = _check_tensors(model)
    count = _check_nodes(model)
    _name_nodes(model)
    omissions.settle(model)
    omissions.check_types(model)
    omissions.merge_outputs(model)
    _check(model)
    sanity.check(model, apart)
    known = inference.infer(model)
    sanity.check_shapes(model, known)
    return CheckedModel(model, sha256, weight_bytes, count, apart, known)


def _check_size(data: memoryview) -> None:
    if len(data) > bounds.MODEL_BYTES:
        raise InvalidModel(
            f"model of {len(data)} bytes: at most {bounds.MODEL_BYTES}", hint=_MODEL_HINT
        )


def _parse(data: bytes, size: int) -> ModelProto:
    """Parse a skeleton of a model of ``size`` bytes."""
    wire.check_structure(data)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as fault:
        raise InvalidModel(
            f"model of {size} bytes is not ONNX, or is truncated", hint=_MODEL_HINT
        ) from fault
    missing = [
        name
        for name, there in (
            ("ir_version", model.ir_version > 0),
            ("opset_import", len(model.opset_import) > 0),
            ("graph.output", len(model.graph.output) > 0),
        )
        if not there
    ]
    if missing:
        raise InvalidModel(
            f"model of {size} bytes is not ONNX, or is truncated: no {', '.join(missing)}",
            hint=_MODEL_HINT,
        )
    if model.ir_version > onnx.IR_VERSION:
        raise Unsupported(
            f"model's IR version is {model.ir_version}, the newest known is {onnx.IR_VERSION}"
        )
    return model


def _check_text(model: ModelProto) -> None:
    """Refuse names that are not UTF-8: protobuf passes them through as bytes."""
    for opset in model.opset_import:
        _check_names("opset", [opset.domain])
    for function in model.functions:
        _check_names("function", [function.name, function.domain, *function.input])
        _check_names("function", [*function.output, *function.attribute])
        for node in function.node:
            _check_node_text(node)
    for at in graphs.graphs(model.graph):
        graph = at.graph
        _check_names("initializer", [tensor.name for tensor in graph.initializer])
        _check_names("initializer", [s.values.name for s in graph.sparse_initializer])
        for value in (*graph.input, *graph.output, *graph.value_info):
            dims = value.type.tensor_type.shape.dim
            _check_names("value", [value.name, *(dim.dim_param for dim in dims)])
        for node in graph.node:
            _check_node_text(node)


def _check_node_text(node: NodeProto) -> None:
    _check_names("node", [node.name, node.op_type, node.domain, *node.input, *node.output])
    _check_names("attribute", [attribute.name for attribute in node.attribute])


def _check_names(noun: str, names: Sequence[object]) -> None:
    for name in names:
        if isinstance(name, bytes):
            raise InvalidModel(f"{noun} {graphs.printable(name)}: its name is not UTF-8")


def _check_opsets(model: ModelProto) -> None:
    """Raise Unsupported for domains, and versions of them, that nobody here knows."""
    local = {function.domain for function in model.functions}
    newest = opsets.newest()
    for opset in model.opset_import:
        domain = opset.domain or "ai.onnx"
        if domain in newest:
            if not 1 <= opset.version <= newest[domain]:
                which = f"{opset.domain} opset" if opset.domain else "opset"
                raise Unsupported(
                    f"model's {which} is {opset.version}: 1 to {newest[domain]} are known",
                    hint="convert it with onnx.version_converter"
                    if domain == "ai.onnx"
                    else "import a version that is known",
                )
        elif domain not in _DOMAINS and domain not in local:
            users = [n for n in graphs.nodes(model.graph) if n.domain == domain]
            if users:
                raise Unsupported(
                    f"node {graphs.title(users[0])} is of unknown domain {graphs.printable(domain)}"
                )


def _modern(model: ModelProto, apart: Weights) -> ModelProto:
    """A model of an older opset in opset 7, whose operators broadcast by themselves."""
    if opsets.is_of(model, _OLDEST_OPSET):
        return model
    # The converter trusts what it is given.
    _check(model)
    operators.spread_operands(model)
    made = opsets.converted(model, apart, _OLDEST_OPSET)
    operators.spread_slopes(made)
    return made


def in_opset(model: CheckedModel, least: int) -> CheckedModel:
    """A checked model in an opset that is not older. Raises Unsupported where it is not possible,
    as with nested graphs of other operators, which ONNX's converter leaves as they are.
    """
    if opsets.is_of(model.proto, least):
        return model
    as_it_is = opsets.renamed(model.proto, least)
    if as_it_is is not None:
        return replace(model, proto=as_it_is)
    opset = max(o.version for o in model.proto.opset_import if o.domain in ("", "ai.onnx"))
    if any(True for node in model.proto.graph.node for _ in graphs.subgraphs(node)):
        raise Unsupported(
            f"model is of opset {opset}: its arithmetic takes {least}, and its graphs are nested",
            hint=f"export it with opset {least} or newer",
        )
    copy = ModelProto()
    copy.CopyFrom(model.proto)
    made = opsets.converted(copy, model.weights, least)
    _name_nodes(made)
    return replace(model, proto=made)


def _check_tensors(model: ModelProto) -> int:
    """Bytes of all weights. Raises InvalidModel naming a tensor whose size cannot be."""
    total = _check_sparse(model)
    for where, tensor in graphs.tensors(model):
        if tensor.data_type not in _TYPES:
            raise InvalidModel(f"{where} is of type {tensor.data_type}, which ONNX does not have")
        if any(dim < 0 for dim in tensor.dims) or len(tensor.dims) > bounds.TENSOR_RANK:
            raise InvalidModel(f"{where} has shape {list(tensor.dims)[:20]}")
        count = math.prod(tensor.dims)
        held = count * _item_bits(tensor.data_type) // 8
        if held > bounds.MODEL_BYTES and not weights.is_apart(tensor):
            raise InvalidModel(f"{where} of shape {list(tensor.dims)} is {held} bytes")
        if tensor.HasField("raw_data") and len(tensor.raw_data) < held:
            raise InvalidModel(
                f"{where} of shape {list(tensor.dims)} needs {held} bytes and has"
                f" {len(tensor.raw_data)}",
                hint=_MODEL_HINT,
            )
        total += held
    return total


def _check_sparse(model: ModelProto) -> int:
    """Bytes that sparse weights take where they are used: dense."""
    total = 0
    for at in graphs.graphs(model.graph):
        for sparse in at.graph.sparse_initializer:
            held = max(0, inference.bytes_of(sparse.values.data_type, tuple(sparse.dims)))
            total += held
            if total > bounds.MODEL_BYTES:
                raise InvalidModel(
                    f"sparse initializer {graphs.printable(sparse.values.name)} of shape"
                    f" {list(sparse.dims)[:20]} is {held} bytes"
                )
    return total


def _item_bits(data_type: int) -> int:
    if data_type == TensorProto.STRING:
        return 0
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8
    except (KeyError, TypeError, ValueError):
        return 8


def _check_nodes(model: ModelProto) -> int:
    count = 0
    for node in graphs.nodes(model.graph):
        count += 1
        if count > bounds.MODEL_NODES:
            raise InvalidModel(f"model has more than {bounds.MODEL_NODES} nodes")
        if node.domain not in _DOMAINS:
            domain = graphs.printable(node.domain)
            raise Unsupported(f"node {graphs.title(node)} is of unknown domain {domain}")
        if node.domain == contributed.DOMAIN and node.op_type not in contributed.names():
            raise Unsupported(f"node {graphs.title(node)} is no operator of com.microsoft")
    return count


def _name_nodes(model: ModelProto) -> None:
    """Give every node a name of its own: the trace and ORT's errors speak of nodes by name.

    Names that a trace leaves out are nobody's: a node of such a name would cost nothing.
    """
    seen: set[str] = set()
    for index, node in enumerate(graphs.nodes(model.graph)):
        name = node.name if len(node.name) <= bounds.NAME_BYTES else ""
        taken = name in seen or name.startswith(INSERTED)
        if not name or not name.isprintable() or taken:
            name = f"{node.op_type}_{index}"
            while name in seen:
                name += "_"
        seen.add(name)
        node.name = name


def _check(model: ModelProto) -> None:
    shown = weights.as_inputs(model)
    # The checker demands shapes that the format leaves optional: lend it some.
    for value in (*shown.graph.input, *shown.graph.output):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(shown)
    except onnx.checker.ValidationError as fault:
        raise InvalidModel(blame.reason(str(fault))) from fault
    except (MemoryError, ValueError, DecodeError, RuntimeError) as fault:
        raise InvalidModel(f"model cannot be checked: {blame.plain(str(fault))}") from fault
