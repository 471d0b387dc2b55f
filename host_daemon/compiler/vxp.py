"""Programs as files: a container that loads without the work of the front end's first pass.

::

    0    magic, 8 bytes                  by which it is told from ONNX
    8    version, uint32                 of this layout
    12   header's length, uint32
    16   header's SHA-256, 32 bytes
    48   length of the whole file, uint64
    56   header, JSON: target, signature, hashes, places of the sections
         graph, an ONNX ModelProto without its large weights: checked, functions unfolded
         weights, each at a multiple of 64 bytes from the file's start

All numbers are little-endian. A file is as hostile as a model: the graph passes every check that a
model passes, the signature is read from the graph again, shapes, plans and costs are computed by
the worker. What the header says of them is for people. Hashes find damage, not malice.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from onnx import ModelProto, helper

from host_daemon.compiler import frontend, signature, weights
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.graphs import printable
from host_daemon.compiler.wire import CUT_TYPES
from vaccel import __version__, bounds
from vaccel.errors import Exhausted, InvalidModel, Unsupported
from vaccel.model import Array, Port

MAGIC: Final = b"\x93VXP\r\n\x1a\n"
VERSION: Final = 1
_PREAMBLE: Final = struct.Struct("<8sII32sQ")
_ALIGNMENT: Final = 64
_HINT: Final = "compile the model again: vaccelctl compile"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a program is compiled for."""

    kind: str
    card: str
    profile: str

    def __str__(self) -> str:
        return f"{self.profile} of {self.card} ({self.kind})"


def is_vxp(data: memoryview | bytes) -> bool:
    """Whether bytes begin as a program file."""
    return bytes(data[: len(MAGIC)]) == MAGIC


# --- writing --------------------------------------------------------------------------------


def write(
    model: CheckedModel,
    identity: Identity,
    plan: Mapping[str, Any],
    arithmetic: str = "",
    max_error: float = 0.0,
) -> Iterator[bytes | memoryview]:
    """A program file in pieces. ``plan`` says to people what the compiler decided; ``arithmetic``
    is what the program computes in where a load says nothing, ``max_error`` what is demanded of it.

    Raises Exhausted where its header would be longer than bounds.PROGRAM_HEADER_BYTES.
    """
    bare = ModelProto()
    bare.CopyFrom(model.proto)
    weights.unmark(bare)
    graph = bare.SerializeToString(deterministic=True)
    table, blocks, end = _table(model.weights)
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    header: dict[str, Any] = {
        "vaccel": __version__,
        "target": asdict(identity),
        "arithmetic": arithmetic,
        "max_error": max_error,
        "model": {"sha256": model.sha256, "nodes": model.nodes},
        "inputs": [_port(port) for port in signature.inputs(model.proto.graph)],
        "outputs": [_port(port) for port in signature.outputs(model.proto.graph)],
        "graph": {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()},
        "weights": {"bytes": end, "sha256": digest.hexdigest(), "table": table},
        "plan": dict(plan),
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > bounds.PROGRAM_HEADER_BYTES:
        raise Exhausted(
            f"program file's header takes {len(text)} bytes: at most"
            f" {bounds.PROGRAM_HEADER_BYTES}",
            hint="load the model itself: it has too many weights for a file",
        )
    head = _PREAMBLE.size + len(text) + len(graph)
    start = _aligned(head)
    yield _PREAMBLE.pack(MAGIC, VERSION, len(text), hashlib.sha256(text).digest(), start + end)
    yield text
    yield graph
    yield bytes(start - head)
    yield from blocks


def _table(apart: weights.Weights) -> tuple[list[list[Any]], list[bytes | memoryview], int]:
    """Rows [name, ONNX type, shape, offset] in the section, its bytes, and their count."""
    rows: list[list[Any]] = []
    blocks: list[bytes | memoryview] = []
    at = 0
    for name, array in apart.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        rows.append([name, int(kind), list(array.shape), at])
        blocks.append(array.reshape(-1).view(np.uint8).data)
        gap = _aligned(array.nbytes) - array.nbytes
        if gap:
            blocks.append(bytes(gap))
        at += array.nbytes + gap
    return rows, blocks, at


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _port(port: Port) -> str:
    return str(port)


# --- reading --------------------------------------------------------------------------------


def header(data: memoryview) -> dict[str, Any]:
    """The header of a program file. Raises InvalidModel for what is damaged, Unsupported for
    another version.
    """
    return _header(data)[0]


def asked(data: memoryview, arithmetic: str, max_error: float) -> tuple[str, float]:
    """What a program file is to compute in, and within what error: as a load asks, and where that
    says nothing as the file does. Raises as ``header``.
    """
    found = _header(data)[0]
    stated = found.get("max_error", 0.0)
    if not isinstance(stated, int | float):
        raise InvalidModel(f"program file: max_error = {str(stated)[:80]!r} is no number")
    return arithmetic or str(found.get("arithmetic", "")), max_error or float(stated)


@contextmanager
def opened(
    data: memoryview, identity: Identity | None, own: bool = False
) -> Iterator[CheckedModel]:
    """The checked model of a program file; its weights are copied, the bytes are not kept, unless
    they are the model's ``own`` and weights are most of them.

    Whether the weights are what was written is known on leaving: they are hashed meanwhile. Raises
    Unsupported for another version or target, InvalidModel for what is damaged or false.
    """
    found, at = _header(data)
    if identity is not None:
        _check_target(found, identity)
    try:
        size, digest = int(found["graph"]["bytes"]), str(found["graph"]["sha256"])
        end, expected = int(found["weights"]["bytes"]), str(found["weights"]["sha256"])
        rows = [_row(row) for row in found["weights"]["table"]]
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise _false(f"its header is wrong in {str(fault)[:80]}") from fault
    start = _aligned(at + size)
    if size < 0 or start + end != len(data):
        raise _false(f"its sections take {start + end} bytes of {len(data)}")
    graph = bytes(data[at : at + size])
    if hashlib.sha256(graph).hexdigest() != digest or any(data[at + size : start]):
        raise _damaged("graph")
    model = frontend.parse(graph, len(data))
    # It stands for all that the header has hashes of.
    sha256 = hashlib.sha256(data[:at]).hexdigest()
    own = own and 8 * end >= 7 * len(data)
    checked = frontend.admit(model, _weights(model, rows, data[start:], own), sha256)
    # Not earlier: while a second core runs this process, each page of the fork server's that the
    # checks are first to write costs an interrupt there, and a session takes longer than the hash.
    with _hashed(data[start:], expected):
        yield checked


def key(data: memoryview) -> str:
    """SHA-256 of what a file holds hashes of all else in. Raises as ``header``."""
    return hashlib.sha256(data[: _header(data)[1]]).hexdigest()


def check_hashes(data: memoryview) -> None:
    """Raise InvalidModel where graph or weights are not what the header has hashes of."""
    found, at = _header(data)
    start = _aligned(at + int(found["graph"]["bytes"]))
    graph = data[at : at + int(found["graph"]["bytes"])]
    if hashlib.sha256(graph).hexdigest() != found["graph"]["sha256"]:
        raise _damaged("graph")
    if hashlib.sha256(data[start:]).hexdigest() != found["weights"]["sha256"]:
        raise _damaged("weights")


@contextmanager
def _hashed(section: memoryview, expected: str) -> Iterator[None]:
    """Hash the weights beside the block's work. Raises InvalidModel where they are others."""
    given: list[str] = []
    beside = threading.Thread(
        target=lambda: given.append(hashlib.sha256(section).hexdigest()), name="weights' hash"
    )
    beside.start()
    try:
        yield
    finally:
        beside.join()
    if given != [expected]:
        raise _damaged("weights")


def _header(data: memoryview) -> tuple[dict[str, Any], int]:
    """The header, and where what follows it begins."""
    if len(data) < _PREAMBLE.size:
        raise _false(f"it is cut short after {len(data)} bytes")
    _, version, length, digest, total = _PREAMBLE.unpack(data[: _PREAMBLE.size])
    if version != VERSION:
        raise Unsupported(
            f"program file is of version {version}, this vaccel reads version {VERSION}",
            hint=_HINT,
        )
    if total != len(data):
        raise _false(f"it is cut short: {len(data)} bytes of {total}")
    end = _PREAMBLE.size + length
    if end > len(data) or length > bounds.PROGRAM_HEADER_BYTES:
        raise _false(f"its header takes {length} bytes")
    text = bytes(data[_PREAMBLE.size : end])
    if hashlib.sha256(text).digest() != digest:
        raise _damaged("header")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise _false("its header is no JSON") from fault
    if not isinstance(found, dict):
        raise _false("its header is no object")
    return found, end


def _check_target(found: Mapping[str, Any], identity: Identity) -> None:
    target = found.get("target")
    if not isinstance(target, dict):
        raise _false("its header names no target")
    wanted = asdict(identity)
    for key in ("kind", "card", "profile"):
        if target.get(key) != wanted[key]:
            made = " of ".join(printable(str(target.get(name))) for name in ("profile", "card"))
            raise Unsupported(
                f"program file was compiled for {made}, this VF is {identity}: the {key} differs",
                hint=f"compile it for this one: vaccelctl compile --card {identity.card}"
                f" --profile {identity.profile}",
            )


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: int
    shape: tuple[int, ...]
    at: int


def _row(row: Any) -> _Row:
    name, kind, shape, at = row
    if not isinstance(name, str) or kind not in CUT_TYPES:
        raise ValueError("a weight's name or type")
    dims = tuple(int(dim) for dim in shape)
    if at < 0 or len(dims) > bounds.TENSOR_RANK or any(dim < 0 for dim in dims):
        raise ValueError("a weight's place or shape")
    return _Row(name, int(kind), dims, int(at))


def _weights(
    model: ModelProto, rows: list[_Row], section: memoryview, own: bool
) -> dict[str, Array]:
    """The weights, each checked against the initializer that it belongs to: copies, or views."""
    places = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[str, Array] = {}
    for row in rows:
        tensor = places.get(row.name)
        dtype = helper.tensor_dtype_to_np_dtype(row.kind)
        size = math.prod(row.shape) * dtype.itemsize
        if tensor is None or row.name in found:
            raise _false(f"weight {printable(row.name)} has no initializer of its own")
        if (tensor.data_type, tuple(tensor.dims)) != (row.kind, row.shape):
            raise _false(f"weight {printable(row.name)} is not as its initializer says")
        if row.at + size > len(section):
            raise _false(f"weight {printable(row.name)} lies outside")
        data: Array = np.frombuffer(section[row.at : row.at + size], np.uint8)
        if not own or data.ctypes.data % weights.ALIGNMENT:
            data = weights.copied(data)
        found[row.name] = weights.shaped(data, tensor)
    return found


def _false(what: str) -> InvalidModel:
    return InvalidModel(f"program file is damaged: {what}", hint=_HINT)


def _damaged(part: str) -> InvalidModel:
    return InvalidModel(f"program file is damaged: its {part} are not what was written", hint=_HINT)
