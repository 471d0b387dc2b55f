from __future__ import annotations

import os

import pytest

from vaccel.aperture import descriptors, layout
from vaccel.aperture.descriptors import Completion, Op
from vaccel.aperture.doorbell import EventDoorbell
from vaccel.aperture.window import Window, create_window
from vaccel.errors import BY_CODE, Exhausted, Internal, from_code


@pytest.mark.parametrize("code", BY_CODE)
def test_errors_keep_their_class(code: str) -> None:
    sent = Completion(Op.READ, 7, 1, 2, 3, from_code(code, "buffer 9 is gone"))
    got = descriptors.decode(sent.encode())
    assert (got.op, got.tag, got.stream, got.fence, got.value) == (Op.READ, 7, 1, 2, 3)
    assert got.error is not None
    assert (got.error.code, got.error.message) == (code, "buffer 9 is gone")


def test_a_long_reason_is_cut() -> None:
    entry = Completion(Op.NOP, 1, error=Exhausted("x" * 1000)).encode()
    assert len(entry) == layout.CQ_ENTRY
    error = descriptors.decode(entry).error
    assert isinstance(error, Exhausted)
    assert set(error.message) == {"x"}


def test_a_code_of_a_newer_peer_is_named() -> None:
    entry = bytearray(Completion(Op.NOP, 1, error=Exhausted("x")).encode())
    entry[4:8] = (99).to_bytes(4, "little")
    assert isinstance(descriptors.decode(bytes(entry)).error, Internal)


def test_a_doorbell_rings_even_when_it_is_full() -> None:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    os.write(fd, ((1 << 64) - 2).to_bytes(8, "little"))
    bell = EventDoorbell(os.dup(fd))
    bell.ring()
    bell.close()
    bell.close()
    assert int.from_bytes(os.read(fd, 8), "little") == (1 << 64) - 2
    os.close(fd)


def test_a_revoked_window_is_private_memory() -> None:
    fd = create_window(1 << 20)
    host, guest = Window.from_fd(fd, 1 << 20), Window.from_fd(fd, 1 << 20)
    os.close(fd)
    view = guest.bytes[4096:8192]
    view[0] = 1
    assert host.bytes[4096] == 1
    guest.revoke()
    assert view[0] == 0
    view[:] = b"z" * 4096
    assert bytes(host.bytes[4096:8192]) == b"\1" + bytes(4095)
    view.release()
    guest.close()
    host.close()
