from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.vaccel.aperture.test_header import HEADER
from vaccel.aperture import layout
from vaccel.aperture.header import encode
from vaccel.aperture.window import Window, create_window
from vaccel.errors import HostFault, InvalidArgument, Unavailable, WrongState

SIZE = 1 << 20


@pytest.fixture
def fd() -> Iterator[int]:
    fd = create_window(SIZE)
    yield fd
    os.close(fd)


@pytest.fixture
def window(fd: int) -> Iterator[Window]:
    window = Window.from_fd(fd, SIZE)
    yield window
    window.close()


def test_nobody_can_resize_it(fd: int) -> None:
    for size in (0, SIZE * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert not os.get_inheritable(fd)


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="3145728"):
        create_window(3 << 20)


def test_both_sides_see_the_header(fd: int, window: Window) -> None:
    guest = Window.from_fd(fd, SIZE)
    window.write_header(encode(HEADER))
    assert guest.read_header() == HEADER
    window.write_header(encode(replace(HEADER, epoch=8)))
    assert guest.read_header().epoch == 8
    guest.close()


def test_an_empty_window_has_no_magic(window: Window) -> None:
    with pytest.raises(InvalidArgument, match="magic"):
        window.read_header()


def test_a_token_is_erased_in_place(fd: int, window: Window) -> None:
    window.write_header(encode(HEADER))
    window.erase_token()
    assert window.read_header() == replace(HEADER, token=b"")
    assert HEADER.token not in bytes(window.bytes)
    window.erase_token()
    assert window.read_header().token == b""


def test_whoever_takes_over_can_erase_too(fd: int, window: Window) -> None:
    window.write_header(encode(HEADER))
    heir = Window.from_fd(fd, SIZE)
    heir.erase_token()
    assert window.read_header() == replace(HEADER, token=b"")
    heir.close()


def test_the_writer_never_takes_back_what_a_guest_wrote(fd: int, window: Window) -> None:
    window.write_header(encode(HEADER))
    window.bytes[layout.CA_SLOT.data.offset] = 0
    window.erase_token()
    assert window.read_header() == replace(HEADER, token=b"")


def test_a_header_under_way_is_torn(window: Window) -> None:
    window.write_header(encode(HEADER))
    window.words[layout.SEQUENCE_FIELD.word] |= 1
    with pytest.raises(Unavailable, match="writing the header"):
        window.read_header()
    # A hostile start of the sequence does not stop the next writer.
    window.words[layout.SEQUENCE_FIELD.word] = (1 << 64) - 1
    window.write_header(encode(HEADER))
    assert window.read_header() == HEADER


def test_a_reader_beside_a_writer_sees_whole_headers_only(fd: int, window: Window) -> None:
    pages = [encode(replace(HEADER, epoch=n, token=bytes([n]) * 32)) for n in range(1, 5)]
    window.write_header(pages[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(400):
            window.write_header(pages[turn % 4])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not done.is_set() or not reads:
        try:
            header = window.read_header()
        except Unavailable:
            continue
        assert header.token == bytes([header.epoch]) * 32
        reads += 1
    writer.join()


def test_wrong_and_unsealed_descriptors_are_refused(fd: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=f"not {SIZE * 2}"):
        Window.from_fd(fd, SIZE * 2)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    os.truncate(plain, SIZE)
    with plain.open("r+b") as file, pytest.raises(InvalidArgument, match="not sealed"):
        Window.from_fd(file.fileno(), SIZE)


def test_closing_twice_is_no_error_and_views_are_named(fd: int) -> None:
    window = Window.from_fd(fd, SIZE)
    view = window.bytes[:8]
    with pytest.raises(WrongState, match="still viewed"):
        window.close()
    view.release()
    window.close()
    window.close()


class TestResource:
    def test_maps_a_bar(self, tmp_path: Path) -> None:
        bar = tmp_path / "resource2"
        bar.write_bytes(encode(HEADER))
        os.truncate(bar, SIZE)
        window = Window.from_resource(bar)
        assert window.read_header() == HEADER
        window.close()

    def test_names_an_unassigned_bar(self, tmp_path: Path) -> None:
        (tmp_path / "resource2").touch()
        with pytest.raises(HostFault, match=r"resource2 has length 0.*no address"):
            Window.from_resource(tmp_path / "resource2")

    def test_names_a_function_that_has_gone(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="unplugged"):
            Window.from_resource(tmp_path / "resource2")

    def test_names_lockdown(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bar = tmp_path / "resource2"
        bar.write_bytes(bytes(SIZE))

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(mmap, "mmap", refuse)
        with pytest.raises(HostFault, match="locked down"):
            Window.from_resource(bar)
