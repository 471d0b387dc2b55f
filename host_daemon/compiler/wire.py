"""A model's bytes before anything parses them: how much there is, how deep, and where weights lie.

Protobuf's parser copies every weight, and makes a message of some hundred bytes out of two. So the
bytes are walked first, by the encoding's own rules
(https://protobuf.dev/programming-guides/encoding/) and the field numbers of onnx.proto. What is too
much or too deep is refused by the name of its node, and large weights are cut out: what is left,
the skeleton, is what protobuf parses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onnx import TensorProto

from host_daemon.compiler.graphs import printable
from vaccel import bounds
from vaccel.errors import InvalidModel
from vaccel.protobuf_fields import BYTES, VARINT, Field, fields, read_varint, varint

# Smaller tensors stay in the skeleton, where shape inference can see their values.
INLINE_BYTES: Final = 1024
# Fields of TensorProto.
_DIMS, _TYPE, _FLOATS, _RAW, _DOUBLES, _LOCATION = 1, 2, 4, 9, 10, 14
# What a field of bytes holds as it lies in memory, where elements are so typed.
_AS_STORED: Final[Mapping[int, frozenset[int]]] = {
    _RAW: frozenset(
        {
            TensorProto.FLOAT,
            TensorProto.DOUBLE,
            TensorProto.FLOAT16,
            TensorProto.INT64,
            TensorProto.INT32,
            TensorProto.INT16,
            TensorProto.INT8,
            TensorProto.UINT64,
            TensorProto.UINT32,
            TensorProto.UINT16,
            TensorProto.UINT8,
        }
    ),
    _FLOATS: frozenset({TensorProto.FLOAT}),
    _DOUBLES: frozenset({TensorProto.DOUBLE}),
}
# Types of the tensors that can be cut out.
CUT_TYPES: Final = _AS_STORED[_RAW]
# Messages within messages: kind → field number → kind of what it holds.
_SCHEMA: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 8: "leaf", 14: "leaf", 20: "training", 25: "function", 26: "leaf"},
    "training": {1: "graph", 2: "graph", 3: "leaf", 4: "leaf"},
    "function": {7: "node", 9: "leaf", 11: "attribute", 12: "value", 14: "leaf"},
    "graph": {
        1: "node",
        5: "tensor",
        11: "value",
        12: "value",
        13: "value",
        14: "leaf",
        15: "sparse",
        16: "leaf",
    },
    "node": {5: "attribute", 9: "leaf", 10: "leaf"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        14: "type",
        15: "type",
        22: "sparse",
        23: "sparse",
    },
    "tensor": {3: "leaf", 13: "leaf", 16: "leaf"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "leaf"},
    "type": {1: "of tensor", 4: "of one", 5: "of two", 7: "leaf", 8: "of tensor", 9: "of one"},
    "of tensor": {2: "shape"},
    "of one": {1: "type"},
    "of two": {2: "type"},
    "shape": {1: "leaf"},
    "leaf": {},
}
# Protobuf's own limit is 100; a type of sequences of sequences is as deep as this at most.
_MESSAGE_DEPTH: Final = 96


@dataclass(frozen=True, slots=True)
class Cut:
    """A weight that was cut out: its bytes are ``[start, end)`` of the model."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A model without its large weights; these by their place among the main graph's
    initializers.
    """

    data: bytes
    cuts: Mapping[int, Cut]


def cut_weights(model: memoryview) -> Skeleton:
    """Take the large weights out of a model.

    Raises InvalidModel where the bytes are no protobuf, or hold more nodes than
    bounds.MODEL_NODES.
    """
    parts: list[bytes | memoryview] = []
    cutter = _Cutter(model)
    for field in fields(model, 0, len(model)):
        if field.number == 7 and field.wire == BYTES:
            inner = cutter.graph(field)
            size = sum(len(part) for part in inner)
            parts += [b"\x3a" + varint(size), *inner]
        else:
            parts.append(model[field.start : field.end])
    return Skeleton(b"".join(parts), cutter.cuts)


class _Cutter:
    def __init__(self, model: memoryview) -> None:
        self._model = model
        self._nodes = 0
        self._count = 0
        self.cuts: dict[int, Cut] = {}

    def graph(self, graph: Field) -> list[bytes | memoryview]:
        """The graph's fields with its large initializers cut."""
        model, begun = self._model, graph.at
        out: list[bytes | memoryview] = []
        for field in fields(model, graph.at, graph.end):
            if field.number == 1:
                self._nodes += 1
                if self._nodes > bounds.MODEL_NODES:
                    raise InvalidModel(f"model has more than {bounds.MODEL_NODES} nodes")
            if field.number != 5 or field.wire != BYTES:
                continue
            self._count += 1
            if field.end - field.at <= INLINE_BYTES:
                continue
            cut = self._tensor(field)
            if cut is not None:
                head, data = cut
                self.cuts[self._count - 1] = data
                out += [model[begun : field.start], b"\x2a" + varint(len(head)), head]
                begun = field.end
        out.append(model[begun : graph.end])
        return out

    def _tensor(self, tensor: Field) -> tuple[bytes, Cut] | None:
        """The tensor without its data, and the data; None where it stays as it is."""
        model = self._model
        data: list[Field] = []
        head: list[memoryview] = []
        kind = 0
        for field in fields(model, tensor.at, tensor.end):
            if field.number in _AS_STORED and field.wire == BYTES:
                data.append(field)
                continue
            if field.number == _TYPE and field.wire == VARINT:
                kind = read_varint(model, field.at, field.end)[0]
            if field.number == _LOCATION:
                return None  # refused where locations are looked at
            head.append(model[field.start : field.end])
        if len(data) != 1 or kind not in _AS_STORED[data[0].number]:
            return None
        return b"".join(head), Cut(data[0].at, data[0].end)


def check_structure(skeleton: bytes) -> None:
    """Refuse what protobuf would make too much memory of, or nests too deep.

    Raises InvalidModel naming the node. A small skeleton cannot hold much: only its depth counts.
    """
    _Structure(skeleton).model()


class _Structure:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._messages = 0
        self._node: Field | None = None

    def model(self) -> None:
        self._walk("model", 0, len(self._data), 0, 0)

    def _walk(self, kind: str, start: int, end: int, depth: int, graphs: int) -> None:
        if depth > _MESSAGE_DEPTH or graphs > bounds.MODEL_DEPTH + 1:
            deepest = bounds.MODEL_DEPTH if graphs > bounds.MODEL_DEPTH + 1 else _MESSAGE_DEPTH
            raise InvalidModel(f"{self._where()}graphs are nested deeper than {deepest}")
        holds = _SCHEMA[kind]
        for field in fields(self._data, start, end):
            inner = holds.get(field.number)
            if inner is None or field.wire != BYTES:
                continue
            self._messages += 1
            if self._messages > bounds.MODEL_MESSAGES:
                raise InvalidModel(
                    f"{self._where()}model has more than {bounds.MODEL_MESSAGES} parts"
                )
            if inner == "node" and graphs <= 1:
                self._node = field
            if inner != "leaf" and field.end > field.at:
                deeper = graphs + (inner == "graph")
                self._walk(inner, field.at, field.end, depth + 1, deeper)

    def _where(self) -> str:
        if self._node is None:
            return ""
        names = {3: "", 4: "", 2: ""}
        for field in fields(self._data, self._node.at, self._node.end):
            if field.number in names and field.wire == BYTES:
                text = self._data[field.at : min(field.end, field.at + bounds.NAME_BYTES)]
                names[field.number] = names[field.number] or text.decode("utf-8", "replace")
        return f"node {printable(names[3] or names[2])} ({printable(names[4])}): "
