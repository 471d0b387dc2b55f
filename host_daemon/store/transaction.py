"""The store's rules, once for every engine: names, references, one-time tokens, bounded audit.

An engine only moves rows (``Rows``). It may enforce the same rules again, as SQLite's constraints
do; where it has to, this file has a bug.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeVar

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
from host_daemon.store.schema import (
    AUDIT,
    CREDENTIALS,
    INTENTS,
    PFS,
    TENANTS,
    TOKENS,
    VFS,
    VMS,
    Cell,
    Row,
    Table,
)
from vaccel import bounds
from vaccel.errors import InvalidArgument, NotFound, WrongState

Named = TypeVar("Named", PfRecord, VfRecord, VmRecord)

_NOUNS: Final = {"tenant": "tenant", "pf": "PF", "vf": "VF", "vm": "VM"}


class Rows(Protocol):
    """What an engine does. Tables and columns come from ``schema``, never from a caller."""

    def put(self, table: Table[Any], row: Row) -> None:
        """Insert a row, or replace the one with its key."""

    def select(self, table: Table[Any], **where: Cell) -> Sequence[Row]:
        """Rows whose columns equal the values given, in order of the key."""

    def delete(self, table: Table[Any], key: str) -> None:
        """Delete a row by key, if it is there."""

    def append(self, table: Table[Any], row: Row, keep: int) -> None:
        """Add a row at the end of a log, and forget all but the last ``keep``."""

    def tail(self, table: Table[Any], limit: int) -> Sequence[Row]:
        """The last rows of a log, in order."""


class RowTransaction:
    """Implements ``host_daemon.core.store.Transaction`` over rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    # --- tenants, cards -------------------------------------------------------------------

    def put_tenant(self, record: TenantRecord) -> None:  # noqa: D102
        self._rows.put(TENANTS, TENANTS.encode(record))

    def get_tenant(self, tenant: str) -> TenantRecord:  # noqa: D102
        return TENANTS.decode(self._one(TENANTS, tenant))

    def list_tenants(self) -> Sequence[TenantRecord]:  # noqa: D102
        return [TENANTS.decode(row) for row in self._rows.select(TENANTS)]

    def delete_tenant(self, tenant: str) -> None:  # noqa: D102
        self._refuse_while_used(TENANTS, tenant, VFS)
        self._refuse_while_used(TENANTS, tenant, VMS)
        self._rows.delete(TENANTS, tenant)

    def put_pf(self, record: PfRecord) -> None:  # noqa: D102
        self._put_named(PFS, record)

    def get_pf(self, pf: str) -> PfRecord:  # noqa: D102
        return PFS.decode(self._one(PFS, pf))

    def list_pfs(self) -> Sequence[PfRecord]:  # noqa: D102
        return [PFS.decode(row) for row in self._rows.select(PFS)]

    def delete_pf(self, pf: str) -> None:  # noqa: D102
        self._refuse_while_used(PFS, pf, VFS)
        self._rows.delete(PFS, pf)

    # --- VFs, VMs -------------------------------------------------------------------------

    def put_vf(self, record: VfRecord) -> None:  # noqa: D102
        self._require(TENANTS, record.tenant)
        self._require(PFS, record.pf)
        if record.vm:
            self._require(VMS, record.vm)
        self._put_named(VFS, record)

    def get_vf(self, vf: str) -> VfRecord:  # noqa: D102
        return VFS.decode(self._one(VFS, vf))

    def list_vfs(self, *, pf: str = "", vm: str = "", tenant: str = "") -> Sequence[VfRecord]:  # noqa: D102
        where = {name: key for name, key in (("pf", pf), ("vm", vm), ("tenant", tenant)) if key}
        return [VFS.decode(row) for row in self._rows.select(VFS, **where)]

    def delete_vf(self, vf: str) -> None:  # noqa: D102
        self._rows.delete(TOKENS, vf)
        self._rows.delete(CREDENTIALS, vf)
        self._rows.delete(VFS, vf)

    def put_vm(self, record: VmRecord) -> None:  # noqa: D102
        self._require(TENANTS, record.tenant)
        self._put_named(VMS, record)

    def get_vm(self, vm: str) -> VmRecord:  # noqa: D102
        return VMS.decode(self._one(VMS, vm))

    def list_vms(self, *, tenant: str = "") -> Sequence[VmRecord]:  # noqa: D102
        where = {"tenant": tenant} if tenant else {}
        return [VMS.decode(row) for row in self._rows.select(VMS, **where)]

    def delete_vm(self, vm: str) -> None:  # noqa: D102
        self._refuse_while_used(VMS, vm, VFS)
        self._rows.delete(VMS, vm)

    # --- intents --------------------------------------------------------------------------

    def add_intent(self, intent: Intent) -> None:  # noqa: D102
        for row in self._rows.select(INTENTS, object=intent.object):
            raise WrongState(
                f"{intent.object} has an unfinished {INTENTS.decode(row).kind}",
                hint="wait until it is done",
            )
        self._rows.put(INTENTS, INTENTS.encode(intent))

    def remove_intent(self, intent: str) -> None:  # noqa: D102
        self._rows.delete(INTENTS, intent)

    def list_intents(self) -> Sequence[Intent]:  # noqa: D102
        return [INTENTS.decode(row) for row in self._rows.select(INTENTS)]

    # --- tokens, credentials --------------------------------------------------------------

    def put_token(self, record: TokenRecord) -> None:  # noqa: D102
        self._require(VFS, record.vf)
        self._rows.put(TOKENS, TOKENS.encode(record))

    def use_token(self, vf: str, epoch: int, sha256: bytes, now_unix_ns: int) -> bool:  # noqa: D102
        # Digests are compared, not tokens: how long the comparison takes says nothing of a token.
        for row in self._rows.select(TOKENS, vf=vf, epoch=epoch, sha256=sha256, used_unix_ns=0):
            if self._epoch(vf) != epoch:
                return False
            token = replace(TOKENS.decode(row), used_unix_ns=now_unix_ns)
            self._rows.put(TOKENS, TOKENS.encode(token))
            return True
        return False

    def put_credential(self, record: CredentialRecord) -> None:  # noqa: D102
        self._require(VFS, record.vf)
        self._rows.put(CREDENTIALS, CREDENTIALS.encode(record))

    def find_credential(self, sha256: bytes) -> CredentialRecord | None:  # noqa: D102
        for row in self._rows.select(CREDENTIALS, sha256=sha256):
            credential = CREDENTIALS.decode(row)
            return credential if self._epoch(credential.vf) == credential.epoch else None
        return None

    def delete_credential(self, vf: str) -> None:  # noqa: D102
        self._rows.delete(CREDENTIALS, vf)

    # --- audit ----------------------------------------------------------------------------

    def append_audit(self, record: AuditRecord) -> None:  # noqa: D102
        row = {
            name: cell[: bounds.NAME_BYTES] if isinstance(cell, str) else cell
            for name, cell in AUDIT.encode(record).items()
        }
        self._rows.append(AUDIT, row, bounds.AUDIT_RECORDS)

    def list_audit(self, limit: int = 1000) -> Sequence[AuditRecord]:  # noqa: D102
        return [AUDIT.decode(row) for row in self._rows.tail(AUDIT, limit)]

    # --- the rules ------------------------------------------------------------------------

    def _find(self, table: Table[Any], key: str) -> Row | None:
        columns = ("id", "name") if "name" in table.columns else ("id",)
        for column in columns:
            for row in self._rows.select(table, **{column: key}):
                return row
        return None

    def _one(self, table: Table[Any], key: str) -> Row:
        row = self._find(table, key)
        if row is None:
            raise NotFound(f"there is no {_NOUNS[table.name]} {key!r}", hint=_hint(table.name))
        return row

    def _require(self, table: Table[Any], key: str) -> None:
        if not self._rows.select(table, id=key):
            raise NotFound(f"there is no {_NOUNS[table.name]} {key!r}", hint=_hint(table.name))

    def _put_named(self, table: Table[Named], record: Named) -> None:
        for row in self._rows.select(table, name=record.name):
            if row["id"] != record.id:
                raise InvalidArgument(
                    f"{_NOUNS[table.name]} name {record.name!r} is taken by {row['id']!s}",
                    hint="choose another name",
                )
        self._rows.put(table, table.encode(record))

    def _refuse_while_used(self, table: Table[Any], key: str, user: Table[Any]) -> None:
        users = self._rows.select(user, **{table.name: key})
        if users:
            names = ", ".join(str(row["name"]) for row in users[:5])
            raise WrongState(
                f"{_NOUNS[table.name]} {key} still has {_NOUNS[user.name]} {names}",
                hint=f"let go of each {_NOUNS[user.name]} first",
            )

    def _epoch(self, vf: str) -> int | None:
        for row in self._rows.select(VFS, id=vf):
            return VFS.decode(row).epoch
        return None


def _hint(table: str) -> str:
    return "" if table == "tenant" else f"vaccelctl {table} list shows those there are"
