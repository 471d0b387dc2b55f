from __future__ import annotations

import stat
from pathlib import Path

import pytest

from guest_agent.credentials import CredentialStore
from vaccel.errors import HostFault, InvalidArgument

VF = "vf-00000000000000000000000001"
OTHER = "vf-00000000000000000000000002"


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    store = CredentialStore(tmp_path / "state")
    store.prepare()
    return store


def _files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "state").iterdir())


def test_keeps_one_root_only_file_per_vf_and_epoch(store: CredentialStore, tmp_path: Path) -> None:
    assert store.load(VF, 1) is None
    store.keep(VF, 1, "first")
    store.keep(OTHER, 1, "other")
    store.keep(VF, 2, "second")
    assert store.load(VF, 1) is None
    assert store.load(VF, 2) == "second"
    assert store.load(OTHER, 1) == "other"
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    for path in _files(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.forget(VF)
    assert [path.name for path in _files(tmp_path)] == [f"{OTHER}.1.credential"]


def test_a_later_agent_finds_it(store: CredentialStore, tmp_path: Path) -> None:
    store.keep(VF, 1, "kept")
    again = CredentialStore(tmp_path / "state")
    again.prepare()
    assert again.load(VF, 1) == "kept"


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o777)
    CredentialStore(tmp_path / "state").prepare()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_what_others_can_read_is_not_used(
    store: CredentialStore, tmp_path: Path, mode: int
) -> None:
    store.keep(VF, 1, "kept")
    _files(tmp_path)[0].chmod(mode)
    assert store.load(VF, 1) is None


def test_links_and_damaged_files_are_not_used(store: CredentialStore, tmp_path: Path) -> None:
    store.keep(VF, 1, "kept")
    path = _files(tmp_path)[0]
    for damage in (b"", b"\xff\xfe", b"x" * 5000):
        path.write_bytes(damage)
        assert store.load(VF, 1) is None
    path.unlink()
    (tmp_path / "elsewhere").write_text("stolen")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.load(VF, 1) is None


def test_a_hostile_id_never_becomes_a_path(store: CredentialStore) -> None:
    with pytest.raises(InvalidArgument, match="not the id"):
        store.keep("../../etc/shadow", 1, "x")
    with pytest.raises(InvalidArgument, match="odd characters"):
        store.keep(VF, 1, "two\nlines")


def test_names_a_folder_it_cannot_make(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostFault, match="file/state"):
        CredentialStore(tmp_path / "file" / "state").prepare()
