"""VFs: split off a card, listed, destroyed.

Every effect is announced in the store first (a busy state and an intent in one transaction) and
confirmed after, so that a daemon that dies in between finds out at start-up what was under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from host_daemon.control.cards import Pf, profile_names
from host_daemon.control.context import HostContext
from host_daemon.control.vf_steps import VfSteps
from host_daemon.core.lifecycle import VfEvent, VfState
from host_daemon.core.partition import place, profile_of
from host_daemon.core.records import DEFAULT_TENANT, IntentKind, TenantRecord, VfRecord
from host_daemon.core.store import Transaction
from vaccel import bounds, ids
from vaccel.errors import Exhausted, InvalidArgument, NotFound
from vaccel.model import Profile


class Vfs:
    """The VFs of this host. ``detach(vf)`` is what a forced destroy does first."""

    def __init__(
        self, host: HostContext, steps: VfSteps, detach: Callable[[str], Awaitable[object]]
    ) -> None:
        self._host = host
        self._steps = steps
        self._detach = detach

    # --- looking --------------------------------------------------------------------------

    def get(self, vf: str) -> VfRecord:
        """One VF, by id or name."""
        with self._host.store.transaction() as tx:
            return tx.get_vf(vf)

    def list(self, vm: str = "") -> Sequence[VfRecord]:
        """All VFs, or those of a VM."""
        with self._host.store.transaction() as tx:
            return tx.list_vfs(vm=vm)

    def profile(self, vf: VfRecord) -> Profile:
        """A VF's profile, as its card has it."""
        return profile_of(self._host.cards.get(vf.pf).card, vf.profile)

    # --- creating and destroying ----------------------------------------------------------

    async def create(
        self, profile: str, pf: str, name: str, tenant: str, seed: str = ""
    ) -> VfRecord:
        """Split off a VF and start its worker."""
        if name and not ids.is_name(name):
            raise InvalidArgument(f"name {name!r} is not a name", hint="a-z 0-9 and - _ . inside")
        intent = None
        with self._host.store.transaction() as tx:
            record = self._placed(tx, profile, pf, name, tenant)
            self._host.cells.check_seed(record, seed)
            self._host.admit_vf(tx, record)
            intent = self._host.intent(IntentKind.VF_CREATE, record.id)
            tx.put_vf(record)
            tx.add_intent(intent)
        async with self._steps.lock(record.id):
            try:
                self._host.cells.choose_seed(record, seed)
                worker = await self._steps.start_worker(record)
            except BaseException:
                await self._host.cells.release(record.id)
                with self._host.store.transaction() as tx:
                    tx.remove_intent(intent.id)
                    tx.delete_vf(record.id)
                raise
            return self._steps.confirm(record.id, intent.id, VfEvent.CREATED, worker)

    def _placed(self, tx: Transaction, profile: str, pf: str, name: str, tenant: str) -> VfRecord:
        held = tx.list_vfs()
        if len(held) >= bounds.VFS_PER_HOST:
            raise Exhausted(
                f"this host has {len(held)} VFs, the most there can be", hint="destroy one first"
            )
        if name and any(vf.name == name for vf in held):
            raise InvalidArgument(f"there is a VF {name!r} already", hint="choose another name")
        chosen = self._choose(tx, profile, pf)
        size = profile_of(chosen.card, profile)
        cores = place(chosen.card, tx.list_vfs(pf=chosen.record.id), size, chosen.record.name)
        owner = tenant or DEFAULT_TENANT
        if owner not in {t.id for t in tx.list_tenants()}:
            if not ids.is_name(owner):
                raise InvalidArgument(
                    f"tenant {owner!r} is not a name", hint="a-z 0-9 and - _ . inside"
                )
            tx.put_tenant(TenantRecord(owner, self._host.unix_ns()))
        vf = self._host.new_id("vf")
        return VfRecord(
            id=vf,
            name=name or vf,
            tenant=owner,
            pf=chosen.record.id,
            profile=size.name,
            cores=cores,
            memory_bytes=size.memory_bytes,
            window_bytes=size.window_bytes,
            state=VfState.CREATING,
            epoch=1,
            created_unix_ns=self._host.unix_ns(),
        )

    def _choose(self, tx: Transaction, profile: str, pf: str) -> Pf:
        """The PF asked for, or the first on which the profile fits."""
        if pf:
            return self._host.cards.get(pf)
        offers = profile_names(self._host.cards)
        if profile not in offers:
            raise NotFound(
                f"no profile {profile!r}", hint=f"there are: {', '.join(offers) or 'none'}"
            )
        refused: Exhausted | None = None
        for name in offers[profile]:
            found = self._host.cards.get(name)
            try:
                taken = tx.list_vfs(pf=found.record.id)
                place(found.card, taken, profile_of(found.card, profile), name)
            except Exhausted as fault:
                refused = fault
                continue
            return found
        assert refused is not None  # every offer was refused, and there is one at least
        raise refused

    async def destroy(self, vf: str, force: bool) -> None:
        """End a VF; with ``force`` an attached one is detached first."""
        record = self.get(vf)
        if force and record.state in (VfState.ATTACHED, VfState.ATTACHING, VfState.DETACHING):
            await self._detach(record.id)
        async with self._steps.lock(record.id):
            record, intent = self._steps.announce(record.id, VfEvent.DESTROY, IntentKind.VF_DESTROY)
            await self._steps.workers.kill(record.id)
            # Nobody writes to its cells any more: now they can be cleared for good.
            await self._host.cells.release(record.id, record.tenant)
            with self._host.store.transaction() as tx:
                tx.remove_intent(intent)
                tx.delete_vf(record.id)
        self._steps.unlock(record.id)
