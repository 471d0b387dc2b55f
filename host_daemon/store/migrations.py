"""The layout of the SQLite store, as the steps that lead to it. Steps are only ever added.

``PRAGMA user_version`` counts the steps that a file has seen; each runs in a transaction of its own
together with its count, so a crash between two steps loses nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from vaccel.errors import HostFault

# "vacl": tells a store from any other SQLite file.
APPLICATION_ID: Final = 0x7661636C

_FIRST: Final = (
    """CREATE TABLE host (
        row INTEGER PRIMARY KEY CHECK (row = 1),
        id TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE tenant (
        id TEXT PRIMARY KEY,
        created_unix_ns INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE pf (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        card TEXT NOT NULL,
        cores INTEGER NOT NULL CHECK (cores > 0),
        memory_bytes INTEGER NOT NULL CHECK (memory_bytes > 0),
        created_unix_ns INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE vm (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL REFERENCES tenant (id),
        state TEXT NOT NULL,
        memory_bytes INTEGER NOT NULL CHECK (memory_bytes > 0),
        cpus INTEGER NOT NULL CHECK (cpus > 0),
        image TEXT NOT NULL,
        image_digest TEXT NOT NULL,
        accelerator TEXT NOT NULL,
        started_unix_ns INTEGER NOT NULL,
        data_dir TEXT NOT NULL,
        pid INTEGER NOT NULL,
        pid_started INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE vf (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL REFERENCES tenant (id),
        pf TEXT NOT NULL REFERENCES pf (id),
        profile TEXT NOT NULL,
        cores TEXT NOT NULL,
        memory_bytes INTEGER NOT NULL CHECK (memory_bytes > 0),
        window_bytes INTEGER NOT NULL CHECK (window_bytes > 0),
        state TEXT NOT NULL,
        epoch INTEGER NOT NULL CHECK (epoch > 0),
        created_unix_ns INTEGER NOT NULL,
        vm TEXT REFERENCES vm (id),
        local INTEGER NOT NULL CHECK (local IN (0, 1)),
        enrolled INTEGER NOT NULL CHECK (enrolled IN (0, 1)),
        reason TEXT NOT NULL,
        worker_pid INTEGER NOT NULL,
        worker_started INTEGER NOT NULL,
        CHECK (vm IS NULL OR local = 0)
    ) STRICT""",
    "CREATE INDEX vf_by_pf ON vf (pf)",
    "CREATE INDEX vf_by_vm ON vf (vm)",
    """CREATE TABLE intent (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        object TEXT NOT NULL UNIQUE,
        created_unix_ns INTEGER NOT NULL,
        payload TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE token (
        vf TEXT PRIMARY KEY REFERENCES vf (id),
        epoch INTEGER NOT NULL,
        sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
        used_unix_ns INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE credential (
        vf TEXT PRIMARY KEY REFERENCES vf (id),
        epoch INTEGER NOT NULL,
        sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
        created_unix_ns INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        when_unix_ns INTEGER NOT NULL,
        principal TEXT NOT NULL,
        role TEXT NOT NULL,
        method TEXT NOT NULL,
        object TEXT NOT NULL,
        code TEXT NOT NULL
    ) STRICT""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)


def migrate(
    connection: sqlite3.Connection, where: str, steps: Sequence[Sequence[str]] = MIGRATIONS
) -> int:
    """Bring a store to the newest layout; returns its version.

    ``where`` names the file in messages. Raises HostFault where the file is no store of ours, or is
    of a newer vacceld; sqlite3.Error where storage fails.
    """
    version = _version(connection, where, len(steps))
    for number, statements in enumerate(steps[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return len(steps)


def _version(connection: sqlite3.Connection, where: str, known: int) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise HostFault(
            f"{where} is an SQLite file of another program (application id {application:#x})",
            hint="give vacceld a state_dir of its own",
        )
    if version > known:
        raise HostFault(
            f"{where} has schema {version}, and this vacceld knows schemas up to {known}",
            hint="run the newer vacceld that wrote it",
        )
    return int(version)
