"""External data of a model: which files its tensors refer to, and what such a reference may be.

ONNX keeps tensors outside of the model's own file by ``location``, a path relative to the model's
folder (https://onnx.ai/onnx/repo-docs/ExternalData.html). Any other path is refused, here and by
the worker, so that nobody's model can make a program send files that are none of the model's.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from vaccel import bounds
from vaccel.errors import InvalidArgument, InvalidModel
from vaccel.protobuf_fields import BYTES, fields

# Messages on the way to a tensor: kind → field number → kind of what it holds (onnx.proto).
_WAY: Final = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DRIVE_OR_URL: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")


def fault_of(location: str) -> str:
    """What is wrong with a location; "" where it names a file within the model's folder."""
    if not location:
        return "is empty"
    if len(location.encode(errors="replace")) > bounds.NAME_BYTES:
        return f"is longer than {bounds.NAME_BYTES} bytes"
    if not location.isprintable() or "\\" in location:
        return "has characters that a file's name should not have"
    if location.startswith("/") or _DRIVE_OR_URL.match(location):
        return "is not relative to the model"
    if any(part in ("", ".", "..") for part in location.split("/")):
        return "is no plain path within the model's folder"
    return ""


def locations(model: bytes) -> list[str]:
    """Locations that a model's tensors refer to, each once. Raises InvalidModel for no protobuf."""
    if b"location" not in model:
        return []  # most models: their tensors are within them
    found: dict[str, None] = {}
    pending = [("model", 0, len(model), 0)]
    while pending:
        kind, start, end, depth = pending.pop()
        if depth > 4 * bounds.MODEL_DEPTH:
            continue  # the worker refuses it, by the name of the node
        for field in fields(model, start, end):
            inner = _WAY[kind].get(field.number)
            if inner is None or field.wire != BYTES:
                continue
            if inner == "entry":
                key, value = _entry(model, field.at, field.end)
                if key == "location":
                    found.setdefault(value)
            else:
                pending.append((inner, field.at, field.end, depth + 1))
        if len(found) > bounds.BLOBS_PER_MODEL:
            raise InvalidModel(
                f"model refers to more than {bounds.BLOBS_PER_MODEL} files of data",
                hint="export it with its data in one file",
            )
    return list(found)


def _entry(model: bytes, start: int, end: int) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    texts = {1: "", 2: ""}
    for field in fields(model, start, end):
        if field.number in texts and field.wire == BYTES:
            data = model[field.at : min(field.end, field.at + 4 * bounds.NAME_BYTES)]
            texts[field.number] = data.decode("utf-8", "replace")
    return texts[1], texts[2]


def open_beside(folder: Path, location: str) -> int:
    """A descriptor of the regular file at a location within a folder; no link is followed.

    Raises InvalidModel for another kind of location or file, InvalidArgument for one that cannot be
    read.
    """
    fault = fault_of(location)
    if fault:
        raise InvalidModel(
            f"model refers to data outside the model: location {location[:80]!r} {fault}",
            hint="export it with its data in one file beside it",
        )
    *folders, name = location.split("/")
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for each in folders:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                deeper = os.open(each, flags, dir_fd=at)
                os.close(at)
                at = deeper
            if not stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                raise InvalidModel(
                    f"model refers to {location!r}, which is a link or no regular file",
                    hint="put a copy beside the model, or say where it is: load(…, data={…})",
                )
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        finally:
            os.close(at)
    except OSError as fault_of_file:
        raise InvalidArgument(
            f"model refers to {location!r}: {fault_of_file.strerror}",
            hint="put the file beside the model, or say where it is: load(…, data={…})",
        ) from None
