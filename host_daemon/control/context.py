"""What the managers share: the store, the cards, and everything that a test wants to replace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from host_daemon.control.cards import Cards
from host_daemon.control.cells import CellFiles
from host_daemon.control.certificates import Identity
from host_daemon.control.watch import Tasks
from host_daemon.core.partition import admit, vf_admission, vm_admission
from host_daemon.core.records import Intent, IntentKind, VfRecord, VmRecord
from host_daemon.core.store import Store, Transaction
from vaccel import ids


@dataclass(frozen=True, slots=True)
class HostContext:
    """Passed in once, by the composition root."""

    store: Store
    cards: Cards
    cells: CellFiles
    identity: Identity
    tasks: Tasks
    unix_ns: Callable[[], int]
    random: Callable[[int], bytes]
    runtime_dir: Path
    guest_address: str
    memory_limit: int

    def new_id(self, prefix: str) -> str:
        """A new id of a noun."""
        return ids.new_id(prefix, self.unix_ns() // 1_000_000, self.random)

    def intent(self, kind: IntentKind, subject: str) -> Intent:
        """An intent, to be added in the transaction that makes its object busy."""
        return Intent(self.new_id("int"), kind, subject, self.unix_ns())

    def admitted(self, tx: Transaction) -> int:
        """Bytes of host memory that VFs and VMs were admitted with."""
        windows = sum(vf_admission(vf.window_bytes) for vf in tx.list_vfs())
        return windows + sum(vm_admission(vm.memory_bytes) for vm in tx.list_vms() if vm.pid)

    def admit_vf(self, tx: Transaction, vf: VfRecord) -> None:
        """Raise Exhausted where the host has no memory for a VF."""
        admit(self.memory_limit, self.admitted(tx), vf_admission(vf.window_bytes), str(vf))

    def admit_vm(self, tx: Transaction, vm: VmRecord) -> None:
        """Raise Exhausted where the host has no memory for a VM."""
        admit(self.memory_limit, self.admitted(tx), vm_admission(vm.memory_bytes), str(vm))
