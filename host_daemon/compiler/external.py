"""External data of a model: found among the blobs that came with it, and never opened as a file.

Large weights become views of the upload, or copies where it is not the program's own; what has to
be within the graph is put there. See https://onnx.ai/onnx/repo-docs/ExternalData.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import ModelProto, TensorProto

from host_daemon.compiler import graphs, inference, weights
from host_daemon.compiler.graphs import printable
from host_daemon.compiler.wire import CUT_TYPES, INLINE_BYTES
from vaccel import bounds
from vaccel.errors import InvalidModel
from vaccel.external_data import fault_of
from vaccel.model import Array

Blobs = Mapping[str, memoryview]
_HINT: Final = "load it by its path, or give its data: load(…, data={location: path})"
_EXPORT: Final = "export the model again: its data and its tensors disagree"


def digest(data: memoryview, blobs: Blobs) -> str:
    """SHA-256 of a model; of one with blobs, over the hash of each part and its name."""
    whole = hashlib.sha256(data)
    if not blobs:
        return whole.hexdigest()
    over = hashlib.sha256(b"vaccel model with external data\0" + whole.digest())
    for name in sorted(blobs):
        over.update(hashlib.sha256(name.encode()).digest())
        over.update(hashlib.sha256(blobs[name]).digest())
    return over.hexdigest()


@dataclass(frozen=True, slots=True)
class Range:
    """Where a tensor's bytes are: ``[start, end)`` of a blob."""

    location: str
    start: int
    end: int


def find(model: ModelProto, blobs: Blobs) -> dict[str, Range]:
    """Put external data where it belongs: into the graph, or as ranges by initializer's name.

    Ranges are those of large initializers of the main graph. Raises InvalidModel naming the tensor
    and the location where data lies outside the upload, or is not what the tensor needs.
    """
    # Objects of protobuf are made anew for each look at them, unless somebody holds them.
    held = list(model.graph.initializer)
    main = {id(tensor) for tensor in held}
    found: dict[str, Range] = {}
    inlined = 0
    for where, tensor in graphs.tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        place = _range(where, tensor, blobs)
        size = place.end - place.start
        if id(tensor) in main and size > INLINE_BYTES and tensor.data_type in CUT_TYPES:
            if tensor.name in found:
                raise InvalidModel(f"initializer {printable(tensor.name)} is there twice")
            found[tensor.name] = place
            continue
        inlined += size
        if inlined > bounds.BLOBS_INLINED_BYTES:
            raise InvalidModel(
                f"{where}: more than {bounds.BLOBS_INLINED_BYTES} bytes of external data are of"
                " constants, or of types that have to be within the graph",
                hint="store them as float, float16 or integer initializers of the main graph",
            )
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        tensor.raw_data = bytes(blobs[place.location][place.start : place.end])
    return found


def arrays(
    model: ModelProto, ranges: Mapping[str, Range], blobs: Blobs, own: bool
) -> dict[str, Array]:
    """The weights of ranges, by name. With ``own`` they are views where alignment allows it.

    The same range is one array. Raises InvalidModel where copies would be more than came.
    """
    kinds = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in ranges}
    known: dict[Range, Array] = {}
    room = sum(len(blob) for blob in blobs.values())
    found: dict[str, Array] = {}
    for name, place in ranges.items():
        data = known.get(place)
        if data is None:
            data = np.frombuffer(blobs[place.location][place.start : place.end], np.uint8)
            if not own or data.ctypes.data % weights.ALIGNMENT:
                room -= data.nbytes
                if room < 0:
                    raise InvalidModel(
                        f"initializer {printable(name)}: ranges of external data overlap",
                        hint=_EXPORT,
                    )
                data = weights.copied(data)
            known[place] = data
        found[name] = weights.shaped(data, kinds[name])
    return found


def union(ranges: Mapping[str, Range]) -> int:
    """Bytes that lie in any of the ranges."""
    total = 0
    last, end = "", 0
    for place in sorted(ranges.values(), key=lambda each: (each.location, each.start)):
        if place.location != last:
            last, end = place.location, 0
        total += max(0, place.end - max(end, place.start))
        end = max(end, place.end)
    return total


def _range(where: str, tensor: TensorProto, blobs: Blobs) -> Range:
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key in entries:
            raise InvalidModel(f"{where} says its {printable(entry.key)} twice", hint=_EXPORT)
        entries[entry.key] = entry.value
    location = entries.get("location", "")
    blob = blobs.get(location)
    if blob is None or fault_of(location):
        raise InvalidModel(
            f"{where} refers to data outside the model: {printable(location)}", hint=_HINT
        )
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise InvalidModel(f"{where} is of a type that cannot be external")
    if tensor.HasField("raw_data") and tensor.raw_data:
        raise InvalidModel(f"{where} has data of its own and refers to {printable(location)}")
    dims = tuple(tensor.dims)
    if len(dims) > bounds.TENSOR_RANK or any(dim < 0 for dim in dims):
        raise InvalidModel(f"{where} has shape {list(dims)[:20]}")
    needed = inference.bytes_of(tensor.data_type, dims)
    start = _number(where, "offset", entries.get("offset", "0"))
    length = _number(where, "length", entries["length"]) if "length" in entries else needed
    if length != needed:
        raise InvalidModel(
            f"{where} of shape {list(dims)} needs {needed} bytes and refers to {length}",
            hint=_EXPORT,
        )
    if start + needed > len(blob):
        raise InvalidModel(
            f"{where}: bytes {start} to {start + needed} are outside {printable(location)} of"
            f" {len(blob)} bytes",
            hint=_EXPORT,
        )
    return Range(location, start, start + needed)


def _number(where: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise InvalidModel(f"{where}: its {key} {printable(text)} is no number", hint=_EXPORT)
    return int(text)
