"""Bytes of protobuf, written by hand where no library would."""

from __future__ import annotations

from onnx import ModelProto

from tests.integration.hostile_models.hostile import one


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def spliced(inner: bytes, base: ModelProto | None = None) -> bytes:
    """A good model with more bytes in its graph."""
    return (base or one("Relu")).SerializeToString() + field(7, inner)
