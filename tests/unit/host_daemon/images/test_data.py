from __future__ import annotations

import os
from pathlib import Path

import pytest

from host_daemon.images.data import make_data_disk, measure
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, InvalidArgument

from .conftest import Programs, names_in


async def test_a_folder_becomes_a_disk(tmp_path: Path, programs: Programs) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.onnx").write_bytes(b"1234")
    assert measure(tmp_path / "models") == 4
    target = tmp_path / "data.img"
    assert await make_data_disk(programs, tmp_path / "models", target) == target
    assert target.stat().st_size == bounds.MIB
    assert names_in(tmp_path) == ["data.img", "models"]


async def test_a_failure_leaves_nothing(tmp_path: Path, programs: Programs) -> None:
    programs.fail = lambda command: HostFault("mksquashfs failed")
    (tmp_path / "models").mkdir()
    with pytest.raises(HostFault, match="mksquashfs failed"):
        await make_data_disk(programs, tmp_path / "models", tmp_path / "data.img")
    assert names_in(tmp_path) == ["models"]


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match=f"data folder {tmp_path}/file is not a folder"):
        measure(tmp_path / "file")
    with pytest.raises(InvalidArgument, match=f"data folder {tmp_path}/none does not exist"):
        measure(tmp_path / "none")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgument, match=f"holds {tmp_path}/pipe, which is not a file"):
        measure(tmp_path)


def test_a_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(bounds.DATA_DISK_BYTES + 1)
    with pytest.raises(Exhausted, match="is over 8 GiB"):
        measure(tmp_path)
    monkeypatch.setattr(bounds, "DATA_DISK_FILES", 0)
    with pytest.raises(Exhausted, match="holds over 0 files"):
        measure(tmp_path)
