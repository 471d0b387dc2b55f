from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from host_daemon.core.records import TenantRecord
from host_daemon.core.store import Store
from host_daemon.store.migrations import APPLICATION_ID, MIGRATIONS, migrate
from host_daemon.store.schema import TABLES
from host_daemon.store.sqlite import SqliteStore
from tests.conformance.store import INTENT, VF, StoreSuite, furnish
from vaccel.errors import HostFault, Internal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def opened(path: Path, host_id: Callable[[], str] = lambda: "host-1") -> SqliteStore:
    return SqliteStore.open(path, host_id, lambda: 1)


def closed_store(path: Path) -> None:
    with closing(opened(path)) as store, store.transaction() as tx:
        furnish(tx)


class TestSqlite(StoreSuite):
    @pytest.fixture
    def store(self, path: Path) -> Iterator[Store]:
        with closing(opened(path)) as store:
            yield store


def test_everything_is_there_after_reopening(path: Path) -> None:
    with closing(opened(path)) as store, store.transaction() as tx:
        furnish(tx)
        tx.add_intent(INTENT)
    with closing(opened(path, lambda: "host-2")) as store, store.transaction() as tx:
        assert store.host_id == "host-1"
        assert tx.get_vf("speech") == VF
        assert list(tx.list_intents()) == [INTENT]


def test_the_default_tenant_is_made_once(path: Path) -> None:
    closed_store(path)
    with closing(SqliteStore.open(path, str, lambda: 99)) as store, store.transaction() as tx:
        assert tx.get_tenant("default") == TenantRecord("default", 1)


def test_only_the_owner_can_read_it(path: Path) -> None:
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        with closing(opened(path)) as store, store.transaction() as tx:
            furnish(tx)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert "state.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_every_commit_is_synced(path: Path) -> None:
    with closing(opened(path)) as store:
        pragmas = {
            name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
    }


def test_columns_are_the_records_fields(path: Path) -> None:
    with closing(opened(path)) as store:
        for table in TABLES:
            info = store._connection.execute(f"PRAGMA table_info({table.name})").fetchall()
            columns = [name for _, name, *_ in info if name != "seq"]
            assert sorted(columns) == sorted(table.columns), table.name


def test_sqlite_enforces_the_rules_too(path: Path) -> None:
    closed_store(path)
    with closing(opened(path)) as store:
        for statement in (
            "DELETE FROM vm",
            "UPDATE vf SET pf = 'ghost'",
            "UPDATE vf SET local = 1",
            "UPDATE vf SET epoch = 'three'",
            "INSERT INTO host VALUES (2, 'x')",
        ):
            with pytest.raises(Internal, match="refused a row"), store.transaction():
                store._connection.execute(statement)


# --- one writer ----------------------------------------------------------------------------


def test_a_second_daemon_is_refused_by_pid(path: Path) -> None:
    with closing(opened(path)), pytest.raises(HostFault, match=f"process {os.getpid()}"):
        opened(path)
    opened(path).close()


def test_the_claim_is_not_inherited(path: Path) -> None:
    with closing(opened(path)):
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
    try:
        opened(path).close()
    finally:
        child.communicate(b"\n")


# --- what a file may turn out to be --------------------------------------------------------


def test_a_newer_schema_is_refused_by_number(path: Path) -> None:
    closed_store(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 7")
    with pytest.raises(HostFault, match=r"schema 7.*schemas up to 1"):
        opened(path)


def test_a_file_of_another_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    with pytest.raises(HostFault, match="another program"):
        opened(path)


def test_a_file_that_is_no_database_is_corrupt(path: Path) -> None:
    path.write_bytes(b"not a database, but quite long enough to be one" * 50)
    with pytest.raises(HostFault, match="corrupt") as caught:
        opened(path)
    assert "put a copy of it back" in caught.value.hint


def test_a_damaged_page_is_corrupt(path: Path) -> None:
    closed_store(path)
    content = bytearray(path.read_bytes())
    for offset in range(4096, len(content), 4096):
        content[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(HostFault, match="corrupt"):
        opened(path)


def test_a_dangling_reference_is_corrupt(path: Path) -> None:
    closed_store(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DELETE FROM pf")
        raw.commit()
    with pytest.raises(HostFault, match="a row of vf refers to a pf"):
        opened(path)


def test_a_refused_file_is_free_again(path: Path) -> None:
    path.write_bytes(b"x" * 5000)
    with pytest.raises(HostFault):
        opened(path)
    path.unlink()
    opened(path).close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match="no-such-folder"):
        opened(tmp_path / "no-such-folder" / "state.db")


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(HostFault, match="symbolic links"):
        opened(path)
    assert not (tmp_path / "elsewhere.db").exists()


# --- storage that fails --------------------------------------------------------------------


def test_a_full_disk_changes_nothing(path: Path) -> None:
    closed_store(path)
    with closing(opened(path)) as store:
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(HostFault, match="full") as caught, store.transaction() as tx:
            tx.put_vf(replace(VF, epoch=4))
            for i in range(1000):
                tx.put_tenant(TenantRecord(f"tenant-{i}", 1))
        assert "space" in caught.value.hint
        with store.transaction() as tx:
            assert tx.get_vf("vf-1") == VF
            assert len(tx.list_tenants()) == 1


def test_another_programs_lock_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaccel.bounds.STORE_BUSY_SECONDS", 0.01)
    with closing(opened(path)) as store, closing(sqlite3.connect(path)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(HostFault, match="locked"), store.transaction():
            pass
        raw.execute("ROLLBACK")
        with store.transaction() as tx:
            furnish(tx)


# --- migrations ----------------------------------------------------------------------------


def test_migrations_add_up(path: Path) -> None:
    steps = (*MIGRATIONS, ("ALTER TABLE tenant ADD COLUMN quota INTEGER",))
    closed_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        assert migrate(raw, "it", steps) == 2
        assert raw.execute("PRAGMA user_version").fetchone() == (2,)
        assert raw.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert raw.execute("SELECT id, quota FROM tenant").fetchall() == [("default", None)]
        assert migrate(raw, "it", steps) == 2


def test_a_migration_that_fails_leaves_the_old_layout(path: Path) -> None:
    steps = (*MIGRATIONS, ("ALTER TABLE tenant ADD COLUMN quota INTEGER", "nonsense"))
    closed_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        with pytest.raises(sqlite3.Error):
            migrate(raw, "it", steps)
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
        assert "quota" not in str(raw.execute("PRAGMA table_info(tenant)").fetchall())
    opened(path).close()
