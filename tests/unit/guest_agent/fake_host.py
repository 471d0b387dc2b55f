"""A host as an upstream sees it, decided step by step by a test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from guest_agent.credentials import CredentialStore
from guest_agent.upstream import Surroundings, Upstream
from tests.unit.guest_agent.fake_sysfs import header
from vaccel.aperture.header import Header
from vaccel.errors import NotFound, Unauthenticated, Unavailable
from vaccel.model import Device, Profile


def device(vf: str) -> Device:
    profile = Profile("npu.1c.6g", "npu", 1, 6 << 30, 1 << 30, 1 << 28)
    return Device(vf, "npu", "kcloud-1", profile, 1, 6 << 30, ("float32",), 1e9)


class FakeHost:
    """One VF's side of the daemon. ``up`` is whether it answers; ``contexts`` what it holds."""

    def __init__(self, vf: str = "0") -> None:
        self.header = header(vf)
        self.up = True
        self.token: bytes | None = self.header.token
        self.credential = ""
        self.contexts: set[str] = set()
        self.resumed: list[str] = []
        self.calls = 0
        self.numbers = itertools.count(1)
        self.connections: list[FakeConnection] = []
        self.recall = asyncio.Event()
        # A call that is under way when our own side closes the channel: gRPC says it was cancelled.
        self.closing = asyncio.Event()
        self.closed = asyncio.Event()

    def connect(self, seen: Header) -> FakeConnection:
        self.connections.append(FakeConnection(self, seen))
        return self.connections[-1]

    def begin_epoch(self) -> None:
        epoch = self.header.epoch + 1
        self.token = f"token {epoch}".encode()
        self.header = replace(self.header, epoch=epoch, token=self.token)
        self.credential = ""
        self.contexts.clear()

    def break_connections(self) -> None:
        for connection in self.connections:
            connection.lost.set()


class FakeConnection:
    def __init__(self, host: FakeHost, seen: Header) -> None:
        self.host = host
        self.seen = seen
        self.lost = asyncio.Event()
        self.closed = False
        self.answered = asyncio.Event()

    async def enrol(self) -> str:
        self.check()
        if self.seen.token != self.host.token:
            raise Unauthenticated("token is stale")
        self.host.token = None
        self.host.header = replace(self.host.header, token=b"")
        self.host.credential = f"credential of epoch {self.seen.epoch}"
        return self.host.credential

    def compute(self, credential: str) -> Any:
        return FakeCompute(self, credential)

    async def recalled(self, credential: str) -> AsyncGenerator[None, None]:
        assert credential == self.host.credential
        try:
            await self.host.recall.wait()
            yield
        finally:
            self.answered.set()

    async def broken(self) -> None:
        await self.lost.wait()

    async def close(self) -> None:
        self.closed = True

    def check(self) -> None:
        self.host.calls += 1
        if not self.host.up or self.lost.is_set() or self.closed:
            raise Unavailable("no answer from the host")


class FakeCompute:
    """As much of a Compute as a route needs."""

    def __init__(self, connection: FakeConnection, credential: str) -> None:
        self._connection = connection
        self._credential = credential

    def _check(self, context: str = "") -> FakeHost:
        self._connection.check()
        host = self._connection.host
        if self._credential != host.credential:
            raise Unauthenticated("credential is of another epoch")
        if context and context not in host.contexts:
            raise NotFound(f"no context {context}")
        return host

    async def devices(self) -> Sequence[Device]:
        return [device(self._check().header.vf)]

    async def open_context(self, device: str = "", resume: str = "") -> str:
        host = self._check(resume)
        if resume:
            host.resumed.append(resume)
            return resume
        context = f"ctx-{host.header.vf[-1]}-{next(host.numbers)}"
        host.contexts.add(context)
        return context

    async def close_context(self, context: str) -> None:
        host = self._check()
        if host.closing.is_set():
            await host.closed.wait()
            raise asyncio.CancelledError
        host.contexts.discard(context)

    async def allocate(self, context: str, size: int) -> int:
        self._check(context)
        return size


class World:
    """Time that stands still, pauses that are only counted, and tasks that end with the test."""

    def __init__(self, state_dir: Path) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.credentials = CredentialStore(state_dir)
        self.credentials.prepare()
        self.tasks: list[asyncio.Task[None]] = []
        self.looks = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def watch(self) -> None:
        await self.looks.wait()
        self.looks.clear()

    def start(self, host: FakeHost, retry_seconds: float = 8.0) -> Upstream:
        around = Surroundings(
            credentials=self.credentials,
            pause=self.pause,
            watch=self.watch,
            random=lambda: 1.0,
            clock=lambda: self.now,
            retry_seconds=retry_seconds,
        )
        upstream = Upstream("0000:00:05.0", lambda: host.header, host.connect, around)
        self.run(upstream.run())
        return upstream

    def run(self, work: Any) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    async def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(1000):
            if reached():
                return
            await asyncio.sleep(0)
        raise AssertionError("never reached")

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
