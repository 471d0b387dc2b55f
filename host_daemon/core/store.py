"""The port of stores: what the daemon keeps, and how a change becomes durable.

Life
    A store is opened once (an implementation's own ``open``) → ``with store.transaction() as tx:``
    any number of times → ``close``. A transaction is short and holds no await: it reads, decides
    and writes. When its block ends, everything in it is durable; when its block raises, nothing of
    it happened.

An effect in three steps
    1. One transaction puts the object in a busy state and adds the intent.
    2. The effect: a worker is forked, a device plugged.
    3. One transaction puts the object in its new state and removes the intent.

    ::

        with store.transaction() as tx:
            vf = tx.get_vf(name)
            tx.put_vf(replace(vf, state=move(vf.state, VfEvent.DETACH, str(vf))))
            tx.add_intent(intent)
        await unplug(...)
        with store.transaction() as tx:
            tx.put_vf(replace(tx.get_vf(vf.id), state=VfState.READY, vm=""))
            tx.remove_intent(intent.id)

Errors
    HostFault where storage fails: nothing of the transaction happened, and the daemon should stop.
    Everything else names the object: NotFound, InvalidArgument (a name that is taken), WrongState
    (still referred to).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

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


class Transaction(Protocol):
    """All or nothing. ``get_*`` take an id or a name and raise NotFound; lists are in order of id.

    ``put_*`` insert or replace by id. Deleting what is gone is no error.
    """

    def put_tenant(self, record: TenantRecord) -> None:
        """Insert or replace a tenant."""

    def get_tenant(self, tenant: str) -> TenantRecord:
        """One tenant, by id."""

    def list_tenants(self) -> Sequence[TenantRecord]:
        """All tenants."""

    def delete_tenant(self, tenant: str) -> None:
        """Forget a tenant. Raises WrongState while it owns anything."""

    def put_pf(self, record: PfRecord) -> None:
        """Insert or replace a card. Raises InvalidArgument where another has its name."""

    def get_pf(self, pf: str) -> PfRecord:
        """One card, by id or name."""

    def list_pfs(self) -> Sequence[PfRecord]:
        """All cards."""

    def delete_pf(self, pf: str) -> None:
        """Forget a card. Raises WrongState while it has VFs."""

    def put_vf(self, record: VfRecord) -> None:
        """Insert or replace a VF.

        Raises InvalidArgument where another has its name, NotFound where its tenant, card or VM is
        unknown.
        """

    def get_vf(self, vf: str) -> VfRecord:
        """One VF, by id or name."""

    def list_vfs(self, *, pf: str = "", vm: str = "", tenant: str = "") -> Sequence[VfRecord]:
        """All VFs, or those of a card, of a VM, of a tenant (ids)."""

    def delete_vf(self, vf: str) -> None:
        """Forget a VF with its token and its credential."""

    def put_vm(self, record: VmRecord) -> None:
        """Insert or replace a VM. Raises as ``put_vf``."""

    def get_vm(self, vm: str) -> VmRecord:
        """One VM, by id or name."""

    def list_vms(self, *, tenant: str = "") -> Sequence[VmRecord]:
        """All VMs, or those of a tenant."""

    def delete_vm(self, vm: str) -> None:
        """Forget a VM. Raises WrongState while VFs are attached to it."""

    def add_intent(self, intent: Intent) -> None:
        """Announce an effect. Raises WrongState where the object has an unconfirmed one."""

    def remove_intent(self, intent: str) -> None:
        """The effect happened, or was undone."""

    def list_intents(self) -> Sequence[Intent]:
        """Effects that were announced and not confirmed."""

    def put_token(self, record: TokenRecord) -> None:
        """The token of a VF's new epoch; the one before is void. Raises NotFound without the VF."""

    def use_token(self, vf: str, epoch: int, sha256: bytes, now_unix_ns: int) -> bool:
        """Whether this is the unused token of the VF's present epoch. From now on it is used."""

    def put_credential(self, record: CredentialRecord) -> None:
        """The credential of a VF's agent; the one before is void. NotFound without the VF."""

    def find_credential(self, sha256: bytes) -> CredentialRecord | None:
        """The credential with this digest, if it is of its VF's present epoch."""

    def delete_credential(self, vf: str) -> None:
        """Void the credential of a VF's agent."""

    def append_audit(self, record: AuditRecord) -> None:
        """Add a line; the oldest beyond ``bounds.AUDIT_RECORDS`` go. Long texts are cut."""

    def list_audit(self, limit: int = 1000) -> Sequence[AuditRecord]:
        """The newest lines, oldest of them first."""


class Store(Protocol):
    """See the module's text."""

    @property
    def host_id(self) -> str:
        """The id of this host: created with the store, never changed."""

    @property
    def schema_version(self) -> int:
        """The layout that the store has on disk."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin. Raises HostFault where storage fails, at the beginning, inside or at the end."""

    def close(self) -> None:
        """Let go of the storage. Closing twice is no error."""
