"""The header of a window: how a guest learns which VF it got, and whom to trust.

Only the host and the one guest that holds the PCI function see it, so the function itself is the
root of trust. The host writes it and never reads it back; a guest copies it once and decodes the
copy.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from vaccel.aperture import layout
from vaccel.aperture.layout import Slot
from vaccel.errors import InvalidArgument, Unavailable
from vaccel.ids import is_id

_Q = struct.Struct("<Q")
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Header:
    """What the host tells the guest. ``token`` is empty once it was erased.

    ``endpoint`` is where the guest reaches the daemon (``10.0.2.100:7443``), ``server_name`` the
    name in the daemon's certificate, ``ca_pem`` the one authority that the guest may trust for it.
    """

    epoch: int
    vf: str
    window_bytes: int
    endpoint: str
    server_name: str
    ca_pem: bytes
    token: bytes

    def __repr__(self) -> str:
        # A token in a log is a token lost.
        return f"Header(epoch={self.epoch}, vf={self.vf!r}, endpoint={self.endpoint!r})"


def encode(header: Header) -> bytes:
    """The header's page, ``layout.HEADER_BYTES`` long, with sequence 0.

    Raises InvalidArgument naming the field that does not fit.
    """
    page = bytearray(layout.HEADER_BYTES)
    _check(header)
    for field, value in (
        (layout.MAGIC_FIELD, layout.MAGIC),
        (layout.VERSION_FIELD, layout.LAYOUT_VERSION),
        (layout.EPOCH_FIELD, header.epoch),
        (layout.WINDOW_FIELD, header.window_bytes),
        (layout.RINGS_FIELD, layout.RINGS_OFFSET),
        (layout.SLABS_FIELD, layout.slabs_offset(header.window_bytes)),
    ):
        _Q.pack_into(page, field.offset, value)
    for slot, data in _slots(header):
        _Q.pack_into(page, slot.length.offset, len(data))
        page[slot.data.offset : slot.data.offset + len(data)] = data
    _Q.pack_into(page, layout.CRC_FIELD.offset, checksum(page))
    return bytes(page)


def decode(page: bytes) -> Header:
    """The header in a copy of its page.

    Raises Unavailable where it is torn (reading it again may do), InvalidArgument naming the field
    where it is not a header of this layout.
    """
    if len(page) != layout.HEADER_BYTES:
        raise InvalidArgument(f"header is {len(page)} bytes, not {layout.HEADER_BYTES}")
    _check_frame(page)
    header = Header(
        epoch=_word(page, layout.EPOCH_FIELD.offset),
        vf=_text(page, layout.VF_SLOT),
        window_bytes=_word(page, layout.WINDOW_FIELD.offset),
        endpoint=_text(page, layout.ENDPOINT_SLOT),
        server_name=_text(page, layout.NAME_SLOT),
        ca_pem=_bytes(page, layout.CA_SLOT),
        token=_bytes(page, layout.TOKEN_SLOT),
    )
    _check(header)
    for field, value in (
        (layout.RINGS_FIELD, layout.RINGS_OFFSET),
        (layout.SLABS_FIELD, layout.slabs_offset(header.window_bytes)),
    ):
        if (found := _word(page, field.offset)) != value:
            raise InvalidArgument(f"header {field.name} is {found}, not {value}")
    return header


def without_token(page: bytes) -> bytes:
    """The same page with the token's slot zeroed and the checksum mended.

    Works on any bytes: the result is as (in)valid as what came in, save for the checksum.
    """
    slot = layout.TOKEN_SLOT
    bare = bytearray(page)
    bare[slot.length.offset : slot.data.offset + slot.capacity] = bytes(8 + slot.capacity)
    _Q.pack_into(bare, layout.CRC_FIELD.offset, checksum(bare))
    return bytes(bare)


def checksum(page: bytes | bytearray) -> int:
    """CRC-32 of what the header's checksum covers."""
    return zlib.crc32(memoryview(page)[layout.CRC_FROM : layout.HEADER_BYTES])


def _check_frame(page: bytes) -> None:
    if (magic := _word(page, layout.MAGIC_FIELD.offset)) != layout.MAGIC:
        raise InvalidArgument(
            f"header magic is {magic:#018x}, not {layout.MAGIC:#018x}",
            hint="this is no vaccel window, or the host has not written its header yet",
        )
    if (version := _word(page, layout.VERSION_FIELD.offset)) != layout.LAYOUT_VERSION:
        raise InvalidArgument(
            f"header layout_version is {version}, this side speaks {layout.LAYOUT_VERSION}",
            hint="use the guest packages that came with the host's vaccel",
        )
    if (sequence := _word(page, layout.SEQUENCE_FIELD.offset)) & 1:
        raise Unavailable(
            f"header sequence is {sequence}: the host is writing the header", hint="read it again"
        )
    found, wanted = _word(page, layout.CRC_FIELD.offset), checksum(page)
    if found != wanted:
        raise Unavailable(
            f"header crc is {found:#010x}, its bytes give {wanted:#010x}", hint="read it again"
        )


def _check(header: Header) -> None:
    if not 0 <= header.epoch < _U64:
        raise InvalidArgument(f"header epoch {header.epoch} is not an unsigned 64-bit number")
    layout.check_size(header.window_bytes)
    if not (is_id(header.vf) and header.vf.startswith("vf-")):
        raise InvalidArgument(f"header vf {header.vf!r} is not the id of a VF")
    for name, text in (("endpoint", header.endpoint), ("server_name", header.server_name)):
        if not text or not (text.isascii() and text.isprintable()) or " " in text:
            raise InvalidArgument(f"header {name} {text!r} is not printable ASCII without spaces")
    for slot, data in _slots(header):
        if len(data) > slot.capacity:
            raise InvalidArgument(
                f"header {slot.name} is {len(data)} bytes, at most {slot.capacity} fit"
            )
    if not header.ca_pem.startswith(b"-----BEGIN CERTIFICATE-----"):
        raise InvalidArgument("header ca_pem does not begin as a PEM certificate")


def _slots(header: Header) -> tuple[tuple[Slot, bytes], ...]:
    return (
        (layout.VF_SLOT, header.vf.encode()),
        (layout.ENDPOINT_SLOT, header.endpoint.encode()),
        (layout.NAME_SLOT, header.server_name.encode()),
        (layout.TOKEN_SLOT, header.token),
        (layout.CA_SLOT, header.ca_pem),
    )


def _word(page: bytes, offset: int) -> int:
    word: int = _Q.unpack_from(page, offset)[0]
    return word


def _bytes(page: bytes, slot: Slot) -> bytes:
    length = _word(page, slot.length.offset)
    if length > slot.capacity:
        raise InvalidArgument(f"header {slot.length.name} is {length}, at most {slot.capacity} fit")
    return page[slot.data.offset : slot.data.offset + length]


def _text(page: bytes, slot: Slot) -> str:
    data = _bytes(page, slot)
    if not data.isascii():
        raise InvalidArgument(f"header {slot.name} {data[:64]!r} is not ASCII")
    return data.decode("ascii")
