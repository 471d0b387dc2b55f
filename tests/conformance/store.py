"""The one suite over the store port. An implementation's own test file gives the fixture ``store``.

::

    class TestMemory(StoreSuite):
        @pytest.fixture
        def store(self) -> Store: ...
"""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from host_daemon.core.lifecycle import VfState, VmState
from host_daemon.core.records import (
    AuditRecord,
    CredentialRecord,
    Intent,
    IntentKind,
    PfRecord,
    TenantRecord,
    TokenRecord,
    VfRecord,
    VmRecord,
)
from host_daemon.core.store import Store, Transaction
from vaccel import bounds
from vaccel.errors import Internal, InvalidArgument, NotFound, WrongState

PF = PfRecord("pf-1", "npu0", "npu", "kcloud-1", 8, 48 << 30, 7)
VM = VmRecord(
    id="vm-1",
    name="guest",
    tenant="default",
    state=VmState.RUNNING,
    memory_bytes=512 << 20,
    cpus=2,
    image="debian",
    image_digest="ab" * 32,
    accelerator="tcg",
    started_unix_ns=11,
    data_dir="/srv/in",
    pid=4711,
    pid_started=99,
    reason="because",
)
VF = VfRecord(
    id="vf-1",
    name="speech",
    tenant="default",
    pf="pf-1",
    profile="npu.2c.12g",
    cores=(2, 3),
    memory_bytes=12 << 30,
    window_bytes=256 << 20,
    state=VfState.ATTACHED,
    epoch=3,
    created_unix_ns=1_790_000_000_000_000_000,
    vm="vm-1",
    enrolled=True,
    reason="a reason with 'quotes' and ü",
    worker_pid=4712,
    worker_started=100,
)
INTENT = Intent("int-1", IntentKind.VF_ATTACH, "vf-1", 5, {"vm": "vm-1", "list": [1, {"a": None}]})
SECRET = bytes(range(32))


def furnish(tx: Transaction) -> None:
    """A card, a VM, and a VF attached to it."""
    tx.put_pf(PF)
    tx.put_vm(VM)
    tx.put_vf(VF)


class Boom(Exception):
    """Not one of ours: whatever a caller's block may raise."""


class StoreSuite:
    """What every store does."""

    # --- records come back as they went in -------------------------------------------------

    def test_every_record_comes_back_equal(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_tenant(TenantRecord("acme", 1))
            tx.add_intent(INTENT)
        with store.transaction() as tx:
            assert tx.get_pf("pf-1") == PF
            assert tx.get_vm("vm-1") == VM
            assert tx.get_vf("vf-1") == VF
            assert tx.get_tenant("acme") == TenantRecord("acme", 1)
            assert list(tx.list_intents()) == [INTENT]

    def test_types_survive(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_vf(replace(VF, vm="", local=True))
        with store.transaction() as tx:
            vf = tx.get_vf("vf-1")
        assert (vf.vm, vf.local, vf.cores) == ("", True, (2, 3))
        assert isinstance(vf.state, VfState)
        assert isinstance(vf.local, bool)
        assert isinstance(vf.cores, tuple)

    def test_put_replaces_by_id(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_vf(replace(VF, epoch=4, name="renamed"))
            assert [vf.name for vf in tx.list_vfs()] == ["renamed"]
            with pytest.raises(NotFound):
                tx.get_vf("speech")

    def test_replacing_a_vf_keeps_its_token_and_credential(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_token(TokenRecord("vf-1", 3, SECRET))
            tx.put_credential(CredentialRecord("vf-1", 3, SECRET, 1))
            tx.put_vf(replace(VF, reason="x"))
            assert tx.find_credential(SECRET) is not None
            assert tx.use_token("vf-1", 3, SECRET, 9)

    def test_gets_by_name_as_by_id(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            assert tx.get_pf("npu0") == PF
            assert tx.get_vm("guest") == VM
            assert tx.get_vf("speech") == VF

    def test_lists_are_in_order_and_filter(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_tenant(TenantRecord("acme", 1))
            tx.put_vf(replace(VF, id="vf-0", name="b", vm="", tenant="acme"))
            tx.put_vf(replace(VF, id="vf-2", name="c"))
            assert [vf.id for vf in tx.list_vfs()] == ["vf-0", "vf-1", "vf-2"]
            assert [vf.id for vf in tx.list_vfs(vm="vm-1")] == ["vf-1", "vf-2"]
            assert [vf.id for vf in tx.list_vfs(tenant="acme")] == ["vf-0"]
            assert [vf.id for vf in tx.list_vfs(pf="pf-1", vm="vm-1")] == ["vf-1", "vf-2"]
            assert [vm.id for vm in tx.list_vms(tenant="acme")] == []
            assert [pf.id for pf in tx.list_pfs()] == ["pf-1"]

    def test_a_new_store_has_the_default_tenant_and_a_host_id(self, store: Store) -> None:
        with store.transaction() as tx:
            assert [tenant.id for tenant in tx.list_tenants()] == ["default"]
        assert store.host_id == "host-1"

    # --- rules -----------------------------------------------------------------------------

    def test_what_is_missing_is_named(self, store: Store) -> None:
        with store.transaction() as tx:
            with pytest.raises(NotFound, match="no VF 'ghost'"):
                tx.get_vf("ghost")
            with pytest.raises(NotFound, match="no VM 'ghost'"):
                tx.get_vm("ghost")
            with pytest.raises(NotFound, match="no PF 'ghost'"):
                tx.get_pf("ghost")
            with pytest.raises(NotFound, match="no tenant 'ghost'"):
                tx.get_tenant("ghost")

    def test_names_are_unique_within_a_noun(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            with pytest.raises(InvalidArgument, match="'speech' is taken by vf-1"):
                tx.put_vf(replace(VF, id="vf-2"))
            with pytest.raises(InvalidArgument, match="'guest' is taken by vm-1"):
                tx.put_vm(replace(VM, id="vm-2"))
            with pytest.raises(InvalidArgument, match="'npu0' is taken by pf-1"):
                tx.put_pf(replace(PF, id="pf-2"))
            tx.put_vf(replace(VF, id="vf-2", name="guest"))

    def test_references_must_exist(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            for record, noun in (
                (replace(VF, tenant="ghost"), "tenant"),
                (replace(VF, pf="ghost"), "PF"),
                (replace(VF, vm="ghost"), "VM"),
            ):
                with pytest.raises(NotFound, match=f"no {noun} 'ghost'"):
                    tx.put_vf(record)
            with pytest.raises(NotFound, match="no tenant 'ghost'"):
                tx.put_vm(replace(VM, tenant="ghost"))
            with pytest.raises(NotFound, match="no VF 'ghost'"):
                tx.put_token(TokenRecord("ghost", 1, SECRET))
            with pytest.raises(NotFound, match="no VF 'ghost'"):
                tx.put_credential(CredentialRecord("ghost", 1, SECRET, 1))

    def test_what_is_in_use_stays(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            with pytest.raises(WrongState, match="VM vm-1 still has VF speech"):
                tx.delete_vm("vm-1")
            with pytest.raises(WrongState, match="PF pf-1 still has VF speech"):
                tx.delete_pf("pf-1")
            with pytest.raises(WrongState, match="tenant default still has VF speech"):
                tx.delete_tenant("default")
            tx.delete_vf("vf-1")
            tx.delete_vm("vm-1")
            tx.delete_pf("pf-1")
            tx.delete_tenant("default")
            assert not (tx.list_vfs() or tx.list_vms() or tx.list_pfs() or tx.list_tenants())

    def test_deleting_what_is_gone_is_no_error(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.delete_vf("vf-9")
            tx.delete_vm("vm-9")
            tx.delete_pf("pf-9")
            tx.delete_tenant("ghost")
            tx.delete_credential("vf-9")
            tx.remove_intent("int-9")

    def test_one_intent_per_object(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.add_intent(INTENT)
            with pytest.raises(WrongState, match=r"vf-1 has an unfinished vf\.attach"):
                tx.add_intent(replace(INTENT, id="int-2", kind=IntentKind.VF_DETACH))
            tx.add_intent(replace(INTENT, id="int-3", object="vf-2"))
            tx.remove_intent("int-1")
            assert [intent.id for intent in tx.list_intents()] == ["int-3"]
            tx.add_intent(replace(INTENT, id="int-4"))

    # --- tokens and credentials ------------------------------------------------------------

    def test_a_token_serves_once(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_token(TokenRecord("vf-1", 3, SECRET))
        with store.transaction() as tx:
            assert tx.use_token("vf-1", 3, SECRET, 9)
            assert not tx.use_token("vf-1", 3, SECRET, 10)
        with store.transaction() as tx:
            assert not tx.use_token("vf-1", 3, SECRET, 11)

    def test_a_forged_stale_or_foreign_token_serves_never(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_vf(replace(VF, id="vf-2", name="other"))
            tx.put_token(TokenRecord("vf-1", 3, SECRET))
            assert not tx.use_token("vf-1", 3, SECRET[::-1], 9)
            assert not tx.use_token("vf-1", 3, SECRET[:31], 9)
            assert not tx.use_token("vf-1", 2, SECRET, 9)
            assert not tx.use_token("vf-1", 4, SECRET, 9)
            assert not tx.use_token("vf-2", 3, SECRET, 9)
            assert not tx.use_token("ghost", 3, SECRET, 9)
            assert tx.use_token("vf-1", 3, SECRET, 9)

    def test_a_new_epoch_voids_token_and_credential(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_token(TokenRecord("vf-1", 3, SECRET))
            tx.put_credential(CredentialRecord("vf-1", 3, SECRET, 1))
            tx.put_vf(replace(VF, epoch=4))
            assert not tx.use_token("vf-1", 3, SECRET, 9)
            assert not tx.use_token("vf-1", 4, SECRET, 9)
            assert tx.find_credential(SECRET) is None

    def test_a_new_token_or_credential_replaces_the_old(self, store: Store) -> None:
        other = SECRET[::-1]
        with store.transaction() as tx:
            furnish(tx)
            for secret in (SECRET, other):
                tx.put_token(TokenRecord("vf-1", 3, secret))
                tx.put_credential(CredentialRecord("vf-1", 3, secret, 1))
            assert not tx.use_token("vf-1", 3, SECRET, 9)
            assert tx.use_token("vf-1", 3, other, 9)
            assert tx.find_credential(SECRET) is None
            assert tx.find_credential(other) == CredentialRecord("vf-1", 3, other, 1)
            tx.delete_credential("vf-1")
            assert tx.find_credential(other) is None

    def test_a_vf_takes_its_secrets_along(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            tx.put_token(TokenRecord("vf-1", 3, SECRET))
            tx.put_credential(CredentialRecord("vf-1", 3, SECRET, 1))
            tx.delete_vf("vf-1")
            tx.put_vf(VF)
            assert not tx.use_token("vf-1", 3, SECRET, 9)
            assert tx.find_credential(SECRET) is None

    # --- audit -----------------------------------------------------------------------------

    def test_audit_keeps_the_newest(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds, "AUDIT_RECORDS", 10)
        for batch in range(3):
            with store.transaction() as tx:
                for i in range(7):
                    when = 7 * batch + i
                    tx.append_audit(AuditRecord(when, "uid 0", "admin", "CreateVF", "vf-1", "OK"))
        with store.transaction() as tx:
            assert [line.when_unix_ns for line in tx.list_audit()] == list(range(11, 21))
            assert [line.when_unix_ns for line in tx.list_audit(2)] == [19, 20]
            assert list(tx.list_audit(0)) == []

    def test_audit_cuts_what_a_guest_made_long(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.append_audit(AuditRecord(1, "vf-1", "anyone", "Enrol", "x" * 100_000, "OK"))
            assert tx.list_audit()[0].object == "x" * bounds.NAME_BYTES

    # --- transactions ----------------------------------------------------------------------

    def test_a_block_that_raises_changes_nothing(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
        with pytest.raises(Boom), store.transaction() as tx:
            tx.put_vf(replace(VF, epoch=9))
            tx.put_tenant(TenantRecord("acme", 1))
            tx.add_intent(INTENT)
            tx.append_audit(AuditRecord(1, "p", "r", "m", "o", "OK"))
            raise Boom
        with store.transaction() as tx:
            assert tx.get_vf("vf-1") == VF
            assert [tenant.id for tenant in tx.list_tenants()] == ["default"]
            assert not tx.list_intents()
            assert not tx.list_audit()

    def test_a_refusal_that_escapes_changes_nothing(self, store: Store) -> None:
        with pytest.raises(NotFound), store.transaction() as tx:
            tx.put_pf(PF)
            tx.get_vf("ghost")
        with store.transaction() as tx:
            assert not tx.list_pfs()

    def test_a_transaction_sees_its_own_changes(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)
            assert tx.get_vf("speech").epoch == 3

    def test_transactions_do_not_nest(self, store: Store) -> None:
        with store.transaction() as tx:
            with pytest.raises(Internal, match="inside another"), store.transaction():
                pass
            tx.put_pf(PF)
        with store.transaction() as tx:
            assert tx.get_pf("pf-1") == PF

    def test_threads_take_turns(self, store: Store) -> None:
        with store.transaction() as tx:
            furnish(tx)

        def rise() -> None:
            for _ in range(20):
                with store.transaction() as tx:
                    vf = tx.get_vf("vf-1")
                    tx.put_vf(replace(vf, epoch=vf.epoch + 1))

        threads = [threading.Thread(target=rise) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.transaction() as tx:
            assert tx.get_vf("vf-1").epoch == 3 + 80

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(Internal, match="is closed"), store.transaction():
            pass
