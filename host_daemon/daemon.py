"""The composition root.

The only file that knows every other part, and the order in which they come up.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from host_daemon.config import Config
from host_daemon.control import cards as control_cards
from host_daemon.control import certificates
from host_daemon.control.attachments import Attachments
from host_daemon.control.cells import CellFiles, load_secret
from host_daemon.control.context import HostContext
from host_daemon.control.credentials import Credentials
from host_daemon.control.keeper import Keeper
from host_daemon.control.operations import Facts, HostOperations
from host_daemon.control.recalls import Recalls
from host_daemon.control.resets import Resets
from host_daemon.control.startup import Startup
from host_daemon.control.vf_steps import VfSteps
from host_daemon.control.vfs import Vfs
from host_daemon.control.vms import Vms, VmSettings
from host_daemon.control.watch import Tasks
from host_daemon.control.workers import Workers, WorkerSettings
from host_daemon.core.device import Card
from host_daemon.core.records import AuditRecord
from host_daemon.core.store import Store
from host_daemon.devices import registry
from host_daemon.hypervisors.qmp.driver import QmpHypervisor
from host_daemon.images.store import ImageStore
from host_daemon.services import endpoints
from host_daemon.services.compute import Access
from host_daemon.services.guard import Principal, Record
from host_daemon.store.claim import Claim
from host_daemon.store.sqlite import SqliteStore
from host_daemon.worker.spawn import ForkServer
from vaccel import bounds, ids
from vaccel.aperture.lending import MEMFD, Loan
from vaccel.errors import HostFault
from vaccel.rpc.rules import Rule, all_rules

log = logging.getLogger(__name__)

GUEST_ADDRESS = "10.0.2.100:7443"
_NO_VMS = "none"
# sun_path of unix(7) holds 108 bytes with the final zero; a VF's socket is /<id>.sock.
_SOCKET_PATH = 107
_SOCKET_NAME = len("/vf-.sock.window") + 26


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the daemon keeps what; all of them its own, mode 0700."""

    state: Path
    runtime: Path

    @property
    def vms(self) -> Path:
        """One folder a VM: disks, sockets, console."""
        return self.state / "vms"

    @property
    def workers(self) -> Path:
        """Sockets of the VF workers."""
        return self.runtime / "workers"

    @property
    def local(self) -> Path:
        """Sockets of VFs attached to this host."""
        return self.runtime / "local"

    def make(self) -> None:
        """Create what is missing. Raises HostFault naming the folder."""
        longest = max(len(os.fsencode(f)) for f in (self.workers, self.local)) + _SOCKET_NAME
        if longest > _SOCKET_PATH:
            raise HostFault(
                f"runtime_dir {self.runtime}: sockets below it would have paths of {longest} bytes,"
                f" and Linux takes {_SOCKET_PATH}",
                hint="set host.runtime_dir to a shorter path",
            )
        for folder in (self.state, self.runtime, self.vms, self.workers, self.local):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as fault:
                raise HostFault(
                    f"folder {folder}: {fault.strerror}",
                    hint="run as a user that may write it, or set host.state_dir and runtime_dir",
                ) from None


class Daemon:
    """``async with Daemon(config): ...`` serves; leaving it lets VMs and workers run on."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folders = Folders(config.host.state_dir, config.host.runtime_dir)
        self._stack = AsyncExitStack()

    @property
    def control(self) -> Path:
        """The control socket."""
        return self._folders.runtime / "control.sock"

    async def __aenter__(self) -> Daemon:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        all_rules()  # a method without a rule stops the daemon here
        self._folders.make()
        store = SqliteStore.open(self._folders.state / "vacceld.db", _new_host_id, time.time_ns)
        self._stack.callback(store.close)
        # Workers and sockets are found by their place: another daemon would take them for orphans.
        claim = Claim.take(self._folders.runtime, "runtime_dir", "runtime_dir")
        self._stack.callback(claim.release)
        host = self._context(store, Tasks())
        hypervisor, config = QmpHypervisor(), self._config
        accelerator, why = await _probe(hypervisor, config.hypervisor.accelerator)
        images = ImageStore(config.images.recipes, config.images.lock, config.images.cache)
        vms = Vms(host, hypervisor, images, self._vm_settings(accelerator))
        self._stack.push_async_callback(vms.release)
        workers = await self._workers()
        self._stack.push_async_callback(host.tasks.close)

        access = Access(lambda: _vf_ids(store), workers.link, bounds.CONTEXT_GRACE_SECONDS)
        self._stack.push_async_callback(access.holder.close)
        record = functools.partial(_audit, store)
        local = endpoints.LocalEndpoints(
            self._folders.local,
            access.compute_of,
            access.holder,
            record,
            functools.partial(_loan, workers),
            access.contexts.vf,
        )
        self._stack.push_async_callback(local.stop)
        steps = VfSteps(host, workers, vms, local)
        recalls = Recalls()
        attachments = Attachments(host, steps, recalls, access.contexts.forget)
        resets = Resets(host, steps, attachments.credentials, access.contexts.forget)
        workers.on_lost = resets.worker_lost
        attachments.on_enrolled = resets.expect_agent
        vms.on_gone, vms.on_reboot = attachments.vm_died, resets.vm_rebooted
        vms.on_ejected = attachments.vf_ejected
        startup = Startup(host, steps, attachments.credentials, resets, vms, access.adopted)
        await startup.run()

        vfs = Vfs(host, steps, attachments.force_detach)
        warnings = (f"no VMs: {why}",) if accelerator == _NO_VMS else ()
        facts = Facts(accelerator, why, GUEST_ADDRESS, time.monotonic(), warnings)
        default = config.images.default
        operations = HostOperations(host, vfs, attachments, vms, workers, images, facts, default)
        await self._serve(host, attachments.credentials, recalls, operations, access, record)
        log.info("serving on unix:%s (%s: %s)", self.control, accelerator, why)

    async def _serve(
        self,
        host: HostContext,
        credentials: Credentials,
        recalls: Recalls,
        operations: HostOperations,
        access: Access,
        record: Record,
    ) -> None:
        guests = await endpoints.serve_guests(
            self._guest_socket,
            host.identity,
            credentials.check,
            credentials.enrol,
            lambda principal: recalls.watch(principal.vf),
            access.compute_of,
            access.holder,
            record,
        )
        self._stack.push_async_callback(guests.stop, 0)
        control = await endpoints.serve_control(
            self.control, operations, access.compute_of, access.holder, record
        )
        self._stack.push_async_callback(control.stop, 1)
        # First of all at the end: streams that break because the daemon leaves free nothing.
        self._stack.push_async_callback(access.holder.close)

    @property
    def _guest_socket(self) -> Path:
        return self._folders.runtime / "guest.sock"

    def _context(self, store: Store, tasks: Tasks) -> HostContext:
        config = self._config

        def new_id(prefix: str) -> str:
            return ids.new_id(prefix, time.time_ns() // 1_000_000, secrets.token_bytes)

        cards = control_cards.register(config.pfs, read_card, store, new_id, time.time_ns)
        return HostContext(
            store=store,
            cards=cards,
            cells=self._cells(cards),
            identity=certificates.load_or_make(
                self._folders.state / "tls", store.host_id, time.time_ns
            ),
            tasks=tasks,
            unix_ns=time.time_ns,
            random=secrets.token_bytes,
            runtime_dir=self._folders.runtime,
            guest_address=GUEST_ADDRESS,
            memory_limit=config.host.memory_limit or _three_quarters_of_memory(),
        )

    def _cells(self, cards: control_cards.Cards) -> CellFiles:
        secret = load_secret(self._folders.state / "seed.secret", secrets.token_bytes)
        cells = CellFiles(
            self._folders.state / "cells", secret, registry.find_kind, secrets.token_bytes
        )
        cells.open(cards)
        return cells

    def _vm_settings(self, accelerator: str) -> VmSettings:
        config = self._config
        return VmSettings(
            folder=self._folders.vms,
            endpoint=self._guest_socket,
            accelerator=accelerator,
            image=config.images.default,
            source=config.images.source,
            memory_bytes=config.hypervisor.memory,
            cpus=config.hypervisor.cpus,
        )

    async def _workers(self) -> Workers:
        forks = ForkServer(self._folders.state / "workers.log")
        await forks.start()
        self._stack.push_async_callback(forks.close)
        uid = self._config.host.worker_uid if os.geteuid() == 0 else None
        threads = self._config.host.worker_threads
        keeper = Keeper(self._folders.runtime / "keeper.sock", self._folders.state / "keeper.log")
        self._stack.callback(keeper.close)
        await keeper.open()
        workers = Workers(forks, keeper, WorkerSettings(self._folders.workers, threads, uid))
        self._stack.push_async_callback(workers.release)
        return workers


def read_card(name: str) -> tuple[Path, Card]:
    """A card by its name in the catalogue or by its path."""
    path = Path(name) if name.startswith("/") else registry.find_card(name)
    return path, registry.load_card(path)


def _loan(workers: Workers, vf: str) -> Loan:
    """A VF's window for a local process; a guest never sees the journal."""
    window = workers.window(vf)
    os.close(window.journal)
    return Loan(vf, MEMFD, window.memfd, window.doorbell, window.size)


def _vf_ids(store: Store) -> list[str]:
    with store.transaction() as tx:
        return [vf.id for vf in tx.list_vfs()]


def _new_host_id() -> str:
    return ids.new_id("host", time.time_ns() // 1_000_000, secrets.token_bytes)


async def _probe(hypervisor: QmpHypervisor, override: str) -> tuple[str, str]:
    """A host without QEMU still serves VFs to local processes.

    Starting a VM will say what is missing.
    """
    try:
        return await hypervisor.probe(override)
    except HostFault as fault:
        log.warning("no VMs on this host: %s", fault)
        return _NO_VMS, str(fault)


def _audit(store: Store, principal: Principal, rule: Rule, subject: str, code: str) -> None:
    line = AuditRecord(time.time_ns(), principal.name, principal.role, rule.method, subject, code)
    with store.transaction() as tx:
        tx.append_audit(line)


def _three_quarters_of_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4


async def run(config: Config, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    async with Daemon(config):
        await stop.wait()
