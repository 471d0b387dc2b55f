"""The store in memory: for tests, and for a private daemon that nobody will restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from host_daemon.core.records import DEFAULT_TENANT, TenantRecord
from host_daemon.core.store import Transaction
from host_daemon.store.gate import Gate
from host_daemon.store.schema import TABLES, Cell, Row, Table
from host_daemon.store.transaction import RowTransaction

SCHEMA_VERSION: Final = 0

_Rows = dict[str | int, Row]


class MemoryStore:
    """Implements ``host_daemon.core.store.Store``. Nothing outlives the object."""

    def __init__(self, host_id: Callable[[], str], clock: Callable[[], int]) -> None:
        """``host_id()`` makes this host's id; ``clock()`` is Unix time in nanoseconds."""
        self._host_id = host_id()
        self._gate = Gate("the store in memory")
        self._tables: dict[str, _Rows] = {table.name: {} for table in TABLES}
        with self.transaction() as tx:
            tx.put_tenant(TenantRecord(DEFAULT_TENANT, clock()))

    @property
    def host_id(self) -> str:
        """The id that this object was made with."""
        return self._host_id

    @property
    def schema_version(self) -> int:
        """0: nothing is on disk."""
        return SCHEMA_VERSION

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Work on tables of its own, which become the store's when the block ends."""
        with self._gate.hold():
            draft = _Draft(self._tables)
            yield RowTransaction(draft)
            self._tables = draft.tables

    def close(self) -> None:
        """Refuse further transactions."""
        self._gate.close()


class _Draft:
    """Tables that are copied when they are first written to. Rows themselves never change."""

    def __init__(self, tables: dict[str, _Rows]) -> None:
        self.tables = dict(tables)
        self._own: set[str] = set()

    def put(self, table: Table[Any], row: Row) -> None:
        self._writable(table)[str(row[table.key])] = dict(row)

    def select(self, table: Table[Any], **where: Cell) -> Sequence[Row]:
        rows = self.tables[table.name]
        return [
            rows[key]
            for key in sorted(rows, key=str)
            if all(rows[key][name] == value for name, value in where.items())
        ]

    def delete(self, table: Table[Any], key: str) -> None:
        self._writable(table).pop(key, None)

    def append(self, table: Table[Any], row: Row, keep: int) -> None:
        rows = self._writable(table)
        last = next(reversed(rows), 0)
        rows[int(last) + 1] = dict(row)
        while len(rows) > keep:
            del rows[next(iter(rows))]

    def tail(self, table: Table[Any], limit: int) -> Sequence[Row]:
        rows = list(self.tables[table.name].values())
        return rows[max(0, len(rows) - limit) :]

    def _writable(self, table: Table[Any]) -> _Rows:
        if table.name not in self._own:
            self.tables[table.name] = dict(self.tables[table.name])
            self._own.add(table.name)
        return self.tables[table.name]
