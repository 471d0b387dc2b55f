"""The fields of protobuf's messages, one by one, without making anything of them.

By the encoding's own rules: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from vaccel.errors import InvalidModel

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_HINT: Final = "export the model again: the file is damaged, or none of ONNX"


class Field(NamedTuple):
    """One field: its number, its wire type, where it begins, and where its value does and ends."""

    number: int
    wire: int
    start: int
    at: int
    end: int


def fields(data: memoryview | bytes, at: int, end: int) -> Iterator[Field]:
    """The fields of a message. Raises InvalidModel where the bytes are none.

    Keys and lengths of one byte, which nearly all are, take a short way.
    """
    while at < end:
        start = at
        key = data[at]
        at += 1
        if key > 0x7F:
            key, at = read_varint(data, start, end)
        wire = key & 7
        if wire == BYTES:
            if at < end and data[at] < 0x80:
                stop = at + 1 + data[at]
                at += 1
            else:
                length, at = read_varint(data, at, end)
                stop = at + length
        elif wire == VARINT:
            _, stop = read_varint(data, at, end)
        elif wire in (FIXED64, FIXED32):
            stop = at + (8 if wire == FIXED64 else 4)
        else:
            raise not_onnx(data)
        if stop > end or key < 8:
            raise not_onnx(data)
        yield Field(key >> 3, wire, start, at, stop)
        at = stop


def read_varint(data: memoryview | bytes, at: int, end: int) -> tuple[int, int]:
    """(value, where the next byte is). Raises InvalidModel past the end or ten bytes."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise not_onnx(data)


def varint(value: int) -> bytes:
    """A number as the encoding has it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def not_onnx(data: memoryview | bytes) -> InvalidModel:
    """What is said of bytes that are no protobuf."""
    return InvalidModel(f"model of {len(data)} bytes is not ONNX, or is truncated", hint=_HINT)
