from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaccel.aperture import layout
from vaccel.aperture.header import Header, checksum, decode, encode, without_token
from vaccel.errors import InvalidArgument, Unavailable, VaccelError

HEADER = Header(
    epoch=7,
    vf="vf-01jd4v7q3e8m2k5n9p0r6s1t4w",
    window_bytes=1 << 28,
    endpoint="10.0.2.100:7443",
    server_name="vacceld",
    ca_pem=b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    token=bytes(range(32)),
)
_words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=248)
_headers = st.builds(
    Header,
    epoch=st.integers(0, (1 << 64) - 1),
    vf=st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26).map("vf-".__add__),
    window_bytes=st.integers(20, 34).map(lambda power: 1 << power),
    endpoint=_words,
    server_name=_words,
    ca_pem=st.binary(max_size=8000).map(b"-----BEGIN CERTIFICATE-----".__add__),
    token=st.binary(max_size=56),
)


def _patched(page: bytes, offset: int, value: int, *, mend: bool = True) -> bytes:
    patched = bytearray(page)
    struct.pack_into("<Q", patched, offset, value)
    if mend:
        struct.pack_into("<Q", patched, layout.CRC_FIELD.offset, checksum(patched))
    return bytes(patched)


@given(_headers)
def test_round_trip(header: Header) -> None:
    page = encode(header)
    assert len(page) == layout.HEADER_BYTES
    assert decode(page) == header


@given(_headers)
def test_erasing_leaves_no_token_and_all_the_rest(header: Header) -> None:
    bare = without_token(encode(header))
    assert decode(bare) == replace(header, token=b"")
    slot = layout.TOKEN_SLOT
    assert not any(bare[slot.length.offset : slot.data.offset + slot.capacity])


@given(st.binary(min_size=1, max_size=64), st.integers(0, layout.HEADER_BYTES - 64))
def test_any_damage_is_an_error_of_ours(noise: bytes, at: int) -> None:
    page = encode(HEADER)
    damaged = page[:at] + noise + page[at + len(noise) :]
    if damaged != page:
        try:
            # The sequence word alone may differ between two good headers.
            assert decode(damaged) == HEADER
            assert damaged[:16] + damaged[24:] == page[:16] + page[24:]
        except VaccelError as error:
            assert "\n" not in error.message


@given(st.binary(max_size=256), st.integers(layout.CRC_FROM, layout.HEADER_BYTES - 256))
def test_forgery_with_a_good_checksum_never_raises_anything_else(noise: bytes, at: int) -> None:
    page = bytearray(encode(HEADER))
    page[at : at + len(noise)] = noise
    struct.pack_into("<Q", page, layout.CRC_FIELD.offset, checksum(page))
    try:
        decode(bytes(page))
    except InvalidArgument as error:
        assert "header" in error.message or "window size" in error.message


@pytest.mark.parametrize(
    ("offset", "value", "field"),
    [
        (layout.MAGIC_FIELD.offset, 0, "magic"),
        (layout.VERSION_FIELD.offset, 2, "layout_version"),
        (layout.WINDOW_FIELD.offset, 3 << 20, "window size"),
        (layout.RINGS_FIELD.offset, 0, "rings_offset"),
        (layout.SLABS_FIELD.offset, 1 << 63, "slabs_offset"),
        (layout.VF_SLOT.length.offset, 57, "vf.length"),
        (layout.VF_SLOT.length.offset, 3, "vf"),
        (layout.TOKEN_SLOT.length.offset, 1 << 63, "token.length"),
        (layout.CA_SLOT.length.offset, 0, "ca_pem"),
        (layout.NAME_SLOT.length.offset, 0, "server_name"),
        (layout.ENDPOINT_SLOT.data.offset, 0xFF, "endpoint"),
    ],
)
def test_each_bad_field_is_named(offset: int, value: int, field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        decode(_patched(encode(HEADER), offset, value))


def test_torn_and_damaged_headers_ask_to_read_again() -> None:
    page = encode(HEADER)
    with pytest.raises(Unavailable, match="sequence"):
        decode(_patched(page, layout.SEQUENCE_FIELD.offset, 5, mend=False))
    with pytest.raises(Unavailable, match="crc"):
        decode(_patched(page, layout.EPOCH_FIELD.offset, 8, mend=False))
    with pytest.raises(Unavailable, match="crc"):
        decode(_patched(page, layout.CRC_FIELD.offset, 1 << 40, mend=False))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": -1}, "epoch"),
        ({"epoch": 1 << 64}, "epoch"),
        ({"vf": "vf-1"}, "vf"),
        ({"vf": "pf-01jd4v7q3e8m2k5n9p0r6s1t4w"}, "vf"),
        ({"window_bytes": 1000}, "window size"),
        ({"endpoint": "a b"}, "endpoint"),
        ({"endpoint": "x" * 249}, "endpoint"),
        ({"server_name": ""}, "server_name"),
        ({"server_name": "ä"}, "server_name"),
        ({"ca_pem": b"not PEM"}, "ca_pem"),
        ({"ca_pem": b"-----BEGIN CERTIFICATE-----" + bytes(8192)}, "ca_pem"),
        ({"token": bytes(57)}, "token"),
    ],
)
def test_encode_refuses_what_decode_would(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        encode(replace(HEADER, **change))  # type: ignore[arg-type]


def test_a_token_is_never_printed() -> None:
    assert "token" not in repr(HEADER)


def test_wrong_length_is_named() -> None:
    with pytest.raises(InvalidArgument, match="16383"):
        decode(encode(HEADER)[:-1])
