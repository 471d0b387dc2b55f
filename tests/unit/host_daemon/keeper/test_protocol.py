"""Messages of the keeper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.keeper import protocol
from host_daemon.keeper.protocol import Op, Reply, Request, Status
from vaccel import bounds

NAME = "vf-00000000000000000000000001"


@pytest.mark.parametrize(
    "request_",
    [Request(Op.PUT, NAME), Request(Op.GET, NAME), Request(Op.LIST), Request(Op.DROP, NAME)],
)
def test_a_request_travels(request_: Request) -> None:
    assert protocol.parse_request(request_.encode()) == request_


def test_a_reply_travels_with_as_many_names_as_a_host_has_vfs() -> None:
    names = tuple(f"vf-{number:026}" for number in range(protocol.NAMES))
    data = Reply(Status.DONE, names).encode()
    assert len(data) <= protocol.REPLY_BYTES
    assert protocol.parse_reply(data).names == names
    assert protocol.NAMES == bounds.VFS_PER_HOST


@pytest.mark.parametrize("name", ["", "a/b", "x" * 59, "two\nlines", "ä"])
def test_a_name_that_no_vf_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a VF"):
        Request(Op.GET, name).encode()


@given(st.binary(max_size=2 * protocol.REQUEST_BYTES))
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    for parse in (protocol.parse_request, protocol.parse_reply):
        try:
            parse(data)
        except ValueError:
            continue


@given(st.integers(0, protocol.REQUEST_BYTES - 1), st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_another_request(at: int, value: int) -> None:
    data = bytearray(Request(Op.GET, NAME).encode())
    data[at] = value
    try:
        found = protocol.parse_request(bytes(data))
    except ValueError:
        return
    assert found.op is Op.LIST or found.name.replace("-", "").isalnum()
