"""The store on disk: one SQLite file (WAL), one writer, every commit synced."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from host_daemon.core.records import DEFAULT_TENANT, TenantRecord
from host_daemon.core.store import Transaction
from host_daemon.store.claim import Claim
from host_daemon.store.gate import Gate
from host_daemon.store.migrations import migrate
from host_daemon.store.schema import Cell, Row, Table
from host_daemon.store.transaction import RowTransaction
from vaccel import bounds
from vaccel.errors import HostFault, Internal, NotFound


class SqliteStore:
    """Implements ``host_daemon.core.store.Store``. Made by ``open``."""

    def __init__(self, path: Path, connection: sqlite3.Connection, claim: Claim) -> None:
        """For ``open`` only."""
        self._path = path
        self._connection = connection
        self._claim = claim
        self._gate = Gate(f"the store {path}")
        self._host_id = ""
        self._schema_version = 0

    @classmethod
    def open(cls, path: Path, host_id: Callable[[], str], clock: Callable[[], int]) -> SqliteStore:
        """The store in a file, which is made (mode 0600) where it is missing.

        ``host_id()`` makes this host's id, once in the file's life; ``clock()`` is Unix time in
        nanoseconds. Raises HostFault where the file is in use by another vacceld, cannot be read or
        written, is corrupt, is not a store, or is of a newer vacceld.
        """
        claim = Claim.take(path)
        try:
            connection = _connect(path)
        except BaseException:
            claim.release()
            raise
        store = cls(path, connection, claim)
        try:
            store._prepare(host_id, clock)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def host_id(self) -> str:
        """The id of this host."""
        return self._host_id

    @property
    def schema_version(self) -> int:
        """How many migrations the file has seen."""
        return self._schema_version

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises."""
        with self._gate.hold(), self._storage():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield RowTransaction(_SqlRows(self._connection))
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def close(self) -> None:
        """Close the file and let another vacceld have it."""
        if self._gate.close():
            with suppress(sqlite3.Error):
                # What a failing disk keeps from the main file is still in the write-ahead log.
                self._connection.close()
            self._claim.release()

    def _prepare(self, host_id: Callable[[], str], clock: Callable[[], int]) -> None:
        with self._storage():
            self._schema_version = migrate(self._connection, str(self._path))
            _check(self._connection, self._path)
            self._host_id = self._identity(host_id)
        with self.transaction() as tx:
            try:
                tx.get_tenant(DEFAULT_TENANT)
            except NotFound:
                tx.put_tenant(TenantRecord(DEFAULT_TENANT, clock()))

    def _identity(self, host_id: Callable[[], str]) -> str:
        row = self._connection.execute("SELECT id FROM host").fetchone()
        if row is None:
            row = (host_id(),)
            self._connection.execute("INSERT INTO host (row, id) VALUES (1, ?)", row)
        return str(row[0])

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself where the disk was full or failed.
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise Internal(f"the store {self._path} refused a row: {error}") from error
        except sqlite3.Error as error:
            raise _fault(self._path, error) from error


class _SqlRows:
    """Rows in SQLite. Every name in a statement comes from ``schema``, every value is bound."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, table: Table[Any], row: Row) -> None:
        self._connection.execute(
            f"INSERT INTO {table.name} ({', '.join(table.columns)}) "  # noqa: S608
            f"VALUES ({', '.join('?' * len(table.columns))}) ON CONFLICT ({table.key}) DO UPDATE "
            f"SET {', '.join(f'{name} = excluded.{name}' for name in table.columns)}",
            [row[name] for name in table.columns],
        )

    def select(self, table: Table[Any], **where: Cell) -> Sequence[Row]:
        condition = " AND ".join(f"{name} IS ?" for name in where) or "1"
        return self._rows(table, f"WHERE {condition} ORDER BY {table.key}", list(where.values()))

    def delete(self, table: Table[Any], key: str) -> None:
        self._connection.execute(
            f"DELETE FROM {table.name} WHERE {table.key} = ?",  # noqa: S608
            [key],
        )

    def append(self, table: Table[Any], row: Row, keep: int) -> None:
        cursor = self._connection.execute(
            f"INSERT INTO {table.name} ({', '.join(table.columns)}) "  # noqa: S608
            f"VALUES ({', '.join('?' * len(table.columns))})",
            [row[name] for name in table.columns],
        )
        self._connection.execute(
            f"DELETE FROM {table.name} WHERE {table.key} <= ?",  # noqa: S608
            [(cursor.lastrowid or 0) - keep],
        )

    def tail(self, table: Table[Any], limit: int) -> Sequence[Row]:
        return self._rows(table, f"ORDER BY {table.key} DESC LIMIT ?", [max(0, limit)])[::-1]

    def _rows(self, table: Table[Any], rest: str, values: list[Cell]) -> Sequence[Row]:
        found = self._connection.execute(
            f"SELECT {', '.join(table.columns)} FROM {table.name} {rest}",  # noqa: S608
            values,
        )
        return [dict(zip(table.columns, row, strict=True)) for row in found]


def _connect(path: Path) -> sqlite3.Connection:
    connection: sqlite3.Connection | None = None
    try:
        # SQLite would create the file with the process's umask; its log takes the file's mode.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        connection = sqlite3.connect(
            path,
            timeout=bounds.STORE_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode only FULL syncs the log at each commit: an intent must be on disk first.
        connection.execute("PRAGMA synchronous = FULL")
    except (OSError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        raise _fault(path, error) from error
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise _corrupt(path, str(verdict))
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        raise _corrupt(path, f"a row of {orphan[0]} refers to a {orphan[2]} that is not there")


def _corrupt(path: Path, why: str) -> HostFault:
    return HostFault(
        f"the store {path} is corrupt: {why}",
        hint=f"put a copy of it back, or move {path.name}, {path.name}-wal and {path.name}-shm "
        "away and stop the VMs and workers that run: vacceld then starts afresh",
    )


def _fault(path: Path, error: OSError | sqlite3.Error) -> HostFault:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return _corrupt(path, str(error))
    return HostFault(
        f"the store {path} failed: {error}",
        hint="look at the disk's space and health, and at the permissions of the folder",
    )
