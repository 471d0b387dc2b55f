"""The composition root: watches the bus, keeps an upstream per VF, serves apps."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path

from guest_agent.config import Config
from guest_agent.connection import Connection, GrpcConnection
from guest_agent.credentials import CredentialStore
from guest_agent.pci import Function, PciBus
from guest_agent.rings import Rings
from guest_agent.router import Router
from guest_agent.uevents import Uevents
from guest_agent.upstream import Surroundings, Upstream
from guest_agent.watcher import changes
from vaccel import bounds
from vaccel.aperture.header import Header
from vaccel.aperture.lending import PCI, Lender, Loan, lent_beside
from vaccel.errors import Detached, VaccelError

log = logging.getLogger(__name__)

# What takes a second and more to load under emulation.
_HEAVY = ("vaccel.rpc.server", "guest_agent.direct", "vaccel.rpc.enrol", "grpc.aio")


class Agent:
    """Everything that runs in one agent process."""

    def __init__(
        self,
        config: Config,
        connect: Callable[[Header, Rings], Connection] = GrpcConnection,
        retry_seconds: float = bounds.RETRY_SECONDS,
    ) -> None:
        self._config = config
        self._connect = connect
        self._retry_seconds = retry_seconds
        self._bus = PciBus(Path(config.sysfs))
        self._tasks: dict[Function, tuple[Upstream, Rings, asyncio.Task[None]]] = {}
        self._lender: Lender | None = None
        # Functions whose windows are lent no more.
        self._leaving: set[Function] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set. Raises HostFault naming what the machine lacks."""
        clock = asyncio.get_running_loop().time
        router = Router(clock)
        credentials = CredentialStore(Path(self._config.state_dir))
        credentials.prepare()
        around = Surroundings(
            credentials=credentials,
            pause=asyncio.sleep,
            watch=partial(asyncio.sleep, self._config.rescan_seconds),
            random=random.SystemRandom().random,
            clock=clock,
            retry_seconds=self._retry_seconds,
        )
        async with AsyncExitStack() as stack:
            uevents = await stack.enter_async_context(Uevents())
            # Loading grpc and hearing of VFs go side by side: both precede the first call.
            loading = asyncio.to_thread(_load)
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(group, uevents, router, around))
                await loading
                await self._serve(router, stop)
                watching.cancel()
                for *_, task in self._tasks.values():
                    task.cancel()

    async def _serve(self, router: Router, stop: asyncio.Event) -> None:
        from guest_agent.endpoint import serve

        path = lent_beside(self._config.socket_path)
        find, group = partial(self._loan, router), self._config.group
        lender = Lender(path, self._config.mode, find, router.close_context, group)
        async with serve(self._config, router), lender:
            self._lender = lender
            log.info("serving apps on %s", self._config.socket)
            await stop.wait()
        log.info("stopped")

    async def _loan(self, router: Router, context: str) -> Loan:
        """The PCI function's own descriptors, for an app that has a context on it."""
        owner = router.owner(context)
        for function, (upstream, *_) in self._tasks.items():
            if upstream is owner and function not in self._leaving:
                window, doorbell, size = self._bus.open_window(function)
                return Loan(function.address, PCI, window, doorbell, size)
        raise Detached(f"{owner.label} was taken away", hint="open another device")

    async def _recall(self, function: Function, rings: Rings, reason: VaccelError) -> None:
        """Take its window back from every app; those that do not let go are ended."""
        self._leaving.add(function)
        rings.leave()
        if self._lender is not None:
            await self._lender.recall(function.address, reason)

    async def _watch(
        self, group: asyncio.TaskGroup, uevents: Uevents, router: Router, around: Surroundings
    ) -> None:
        wait = partial(uevents.wait, self._config.rescan_seconds)
        async with aclosing(changes(self._bus, wait)) as stream:
            async for change in stream:
                if change.present:
                    self._came(change.function, group, router, around)
                else:
                    await self._went(change.function, router)

    def _came(
        self, function: Function, group: asyncio.TaskGroup, router: Router, around: Surroundings
    ) -> None:
        log.info("PCI function %s: found", function.address)
        read_header = partial(self._bus.read_header, function)
        rings = Rings(partial(self._bus.open_window, function))
        upstream = Upstream(
            function.address, read_header, lambda header: self._connect(header, rings), around
        )
        gone = Detached(f"{upstream.label} was taken away", hint="open another device")
        upstream.on_recall = partial(self._recall, function, rings, gone)
        router.add(upstream)
        self._tasks[function] = (upstream, rings, group.create_task(upstream.run()))

    async def _went(self, function: Function, router: Router) -> None:
        upstream, rings, task = self._tasks.pop(function)
        gone = Detached(f"{upstream.label} was taken away", hint="open another device")
        router.remove(upstream)
        upstream.vanish()
        task.cancel()
        await asyncio.wait({task})
        await self._recall(function, rings, gone)
        self._leaving.discard(function)
        # gRPC keeps a connection as long as a call's remains are there, in cycles now and then.
        gc.collect()


def _load() -> None:
    for module in _HEAVY:
        importlib.import_module(module)
