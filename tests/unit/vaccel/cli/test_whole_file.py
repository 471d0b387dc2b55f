from __future__ import annotations

import os
import threading

import pytest

from vaccel.cli.whole_file import whole_file
from vaccel.errors import HostFault


def write_file(path, data):
    with whole_file(path) as stream:
        stream.write(data)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "model.vxp"
    path.write_bytes(b"before")
    with path.open("rb") as reader:
        write_file(path, b"after")
        assert reader.read() == b"before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write_file(link, b"data")
    assert link.is_symlink()
    assert target.read_bytes() == b"data"


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"data")
    reader.join(10)
    assert found == [b"data"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["none/file", ".", "nul\0"])
def test_where_nothing_can_be_written(tmp_path, name):
    with pytest.raises(HostFault, match="cannot be written"):
        write_file(tmp_path / name, b"data")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_halfway_leaves_what_was_there(tmp_path):
    path = tmp_path / "model.vxp"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), whole_file(path) as stream:
        stream.write(b"aft")
        raise ZeroDivisionError
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
