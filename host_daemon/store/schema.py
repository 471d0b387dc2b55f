"""Records as rows: one table per noun, one column per field of its record, by the field's type.

====================  =========  ==============================
field                 column     how
====================  =========  ==============================
str, an Enum          TEXT       the value itself
int, bool             INTEGER    bool as 0 or 1
bytes                 BLOB       the value itself
tuple, Mapping        TEXT       JSON
a reference or ""     TEXT       "" as NULL, so that the foreign key is not checked for it
====================  =========  ==============================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, Generic, TypeVar, get_origin, get_type_hints

from host_daemon.core.records import (
    AuditRecord,
    CredentialRecord,
    Intent,
    PfRecord,
    TenantRecord,
    TokenRecord,
    VfRecord,
    VmRecord,
)

Cell = str | int | bytes | None
Row = Mapping[str, Cell]
R = TypeVar("R")


class Table(Generic[R]):
    """A noun's table: ``key`` is its primary key, ``optional`` are references that may be ""."""

    def __init__(
        self, name: str, record: type[R], key: str = "id", optional: frozenset[str] = frozenset()
    ) -> None:
        self.name = name
        self.key = key
        self._record = record
        self._optional = optional
        hints = get_type_hints(record)
        self.columns: Final = tuple(hints)
        self._decoders: Final = {name: _decoder(hints[name]) for name in self.columns}

    def encode(self, record: R) -> dict[str, Cell]:
        """The row of a record."""
        return {name: self._cell(name, getattr(record, name)) for name in self.columns}

    def decode(self, row: Row) -> R:
        """The record of a row."""
        return self._record(**{name: self._decoders[name](row[name]) for name in self.columns})

    def _cell(self, name: str, value: Any) -> Cell:
        if name in self._optional and value == "":
            return None
        if isinstance(value, Enum):
            return str(value.value)
        if isinstance(value, (tuple, Mapping)):
            return json.dumps(value, separators=(",", ":"), sort_keys=True)
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, (str, int, bytes)):
            return value
        raise TypeError(f"{self.name}.{name}: {type(value).__name__} has no column type")


def _decoder(hint: Any) -> Callable[[Cell], Any]:
    if get_origin(hint) is tuple:
        return lambda cell: tuple(json.loads(str(cell)))
    if get_origin(hint) is not None:
        return lambda cell: json.loads(str(cell))
    if hint is str:
        return lambda cell: "" if cell is None else cell
    if hint is bool or issubclass(hint, Enum):
        return hint  # type: ignore[no-any-return]
    return lambda cell: cell


TENANTS: Final = Table("tenant", TenantRecord)
PFS: Final = Table("pf", PfRecord)
VFS: Final = Table("vf", VfRecord, optional=frozenset({"vm"}))
VMS: Final = Table("vm", VmRecord)
INTENTS: Final = Table("intent", Intent)
TOKENS: Final = Table("token", TokenRecord, key="vf")
CREDENTIALS: Final = Table("credential", CredentialRecord, key="vf")
AUDIT: Final = Table("audit", AuditRecord, key="seq")

TABLES: Final[tuple[Table[Any], ...]] = (
    TENANTS,
    PFS,
    VMS,
    VFS,
    INTENTS,
    TOKENS,
    CREDENTIALS,
    AUDIT,
)
