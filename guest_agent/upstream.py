"""A VF as the agent keeps it: enrolled, connected, and its contexts resumed after every break.

Life
    ``run`` reads the header and connects again for as long as the function is plugged; ``states``
    has the moves. ``ask`` lets an app's call outlast a host that is away for a moment. ``vanish``
    ends it all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from guest_agent.backoff import Backoff
from guest_agent.connection import Connection
from guest_agent.credentials import CredentialStore
from guest_agent.states import Event, State, move
from vaccel import bounds
from vaccel.aperture.header import Header
from vaccel.errors import (
    Detached,
    DeviceLost,
    TimedOut,
    Unauthenticated,
    Unavailable,
    VaccelError,
    WrongState,
)

if TYPE_CHECKING:
    from vaccel.compute import Compute

log = logging.getLogger(__name__)
T = TypeVar("T")

_LINES_PER_OUTAGE: Final = 16


async def _at_once() -> None:
    return


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an upstream touches, passed in so that tests decide what happens and when."""

    credentials: CredentialStore
    pause: Callable[[float], Awaitable[None]]
    # Returns when a connected VF's header is worth another look.
    watch: Callable[[], Awaitable[None]]
    random: Callable[[], float]
    clock: Callable[[], float]
    retry_seconds: float = bounds.RETRY_SECONDS


class Upstream:
    """One VF. ``name`` is its PCI address; ``vf`` its id, empty until a header was read."""

    def __init__(
        self,
        name: str,
        read_header: Callable[[], Header],
        connect: Callable[[Header], Connection],
        around: Surroundings,
    ) -> None:
        self.name = name
        self.vf = ""
        self.state = State.FOUND
        self.reason = ""
        # The host is about to take the VF away: returns when no app has its window any more.
        self.on_recall: Callable[[], Awaitable[None]] = _at_once
        self._read_header, self._connect = read_header, connect
        self._around = around
        self._backoff = Backoff(around.random)
        self._epoch = -1
        self._compute: Compute | None = None
        self._contexts: set[str] = set()
        self._lost: set[str] = set()
        # Closed by their apps while the host was away: it has not heard of that yet.
        self._left: set[str] = set()
        self._refused = ""
        # The host has asked for the VF: a reset of it from now on is its end here.
        self._recalled = False
        self._told: set[str] = set()
        self._settled = asyncio.Event()
        self._doubted = asyncio.Event()

    @property
    def label(self) -> str:
        """How errors and log lines name it."""
        return f"VF {self.vf}" if self.vf else f"PCI function {self.name}"

    # --- keeping the connection ------------------------------------------------------------

    async def run(self) -> None:
        """Keep the VF connected until cancelled."""
        while True:
            try:
                await self._session()
            except Unauthenticated as fault:
                self._failed(Event.REFUSED, fault)
            except VaccelError as fault:
                self._failed(Event.FAILED, fault)
            await self._around.pause(self._backoff.next())

    def vanish(self) -> None:
        """Its function was unplugged: every call ends as Detached; nothing of it is kept."""
        self._move(Event.VANISHED)
        self._compute = None
        self._settled.set()
        if self.vf:
            self._around.credentials.forget(self.vf)
        log.info("%s: gone", self.label)

    async def _session(self) -> None:
        header = self._header()
        kept = self._kept(header)
        self._move(Event.TOKEN if kept is None else Event.CREDENTIAL)
        connection = self._connect(header)
        try:
            credential = await self._enrol(connection, header) if kept is None else kept
            compute = connection.compute(credential)
            try:
                await compute.devices()  # the host may not know the credential any more
            except Unauthenticated:
                self._refused = credential
                raise
            await self._resume(compute, header.epoch)
            self._ready(compute, header)
            await self._hold(connection, credential, header.epoch)
            self._move(Event.BROKEN)
            log.warning("%s: connection to %s broke", self.label, header.endpoint)
        finally:
            self._compute = None
            if self.state is not State.GONE:
                self._settled.clear()
            await connection.close()

    def _header(self) -> Header:
        header = self._read_header()
        if self.vf and header.vf != self.vf:
            raise WrongState(f"PCI function {self.name} held {self.vf} and now shows {header.vf}")
        self.vf = header.vf
        return header

    def _kept(self, header: Header) -> str | None:
        """The credential to show, or None to enrol with the header's token."""
        kept = self._around.credentials.load(header.vf, header.epoch)
        if header.token and (kept is None or kept == self._refused):
            return None
        if kept is None:
            raise Unauthenticated(
                f"{self.label} has no credential, and the token of epoch {header.epoch} was used",
                hint="on the host, detach the VF and attach it again",
            )
        return kept

    async def _enrol(self, connection: Connection, header: Header) -> str:
        credential = await connection.enrol()
        self._around.credentials.keep(header.vf, header.epoch, credential)
        log.info("%s: enrolled for epoch %d", self.label, header.epoch)
        return credential

    async def _resume(self, compute: Compute, epoch: int) -> None:
        for context in sorted(self._contexts):
            try:
                if epoch != self._epoch:
                    raise DeviceLost(f"{self.label} was reset: epoch {self._epoch} is now {epoch}")
                await compute.open_context("", context)
            except (Unavailable, TimedOut, Unauthenticated):
                raise
            except VaccelError as fault:
                self._contexts.discard(context)
                self._lost.add(context)
                log.warning("%s: context %s is lost: %s", self.label, context, fault)
        if epoch != self._epoch:
            self._left.clear()
        while self._left:  # also what an app closed during the lines above
            context = self._left.pop()
            await compute.close_context(context)

    def _ready(self, compute: Compute, header: Header) -> None:
        self._epoch = header.epoch
        self._move(Event.ACCEPTED)
        self._backoff.reset()
        self.reason = ""
        self._told.clear()
        self._doubted.clear()
        self._recalled = False
        self._compute = compute
        self._settled.set()
        log.info("%s: ready, epoch %d, host at %s", self.label, header.epoch, header.endpoint)

    async def _hold(self, connection: Connection, credential: str, epoch: int) -> None:
        tasks = [
            asyncio.create_task(connection.broken()),
            asyncio.create_task(self._doubted.wait()),
            asyncio.create_task(self._epoch_end(epoch)),
        ]
        recall = asyncio.create_task(self._await_recall(connection, credential))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, recall):
                task.cancel()
            await asyncio.gather(*tasks, recall, return_exceptions=True)
        if self._doubted.is_set():
            self._refused = credential
            raise Unauthenticated(f"the host no longer takes the credential of {self.label}")

    async def _await_recall(self, connection: Connection, credential: str) -> None:
        try:
            async with aclosing(connection.recalled(credential)) as recalls:
                async for _ in recalls:
                    log.info("%s: the host wants it back", self.label)
                    self._recalled = True
                    await self.on_recall()
                    return
        except VaccelError as fault:
            # A host that knows no recalls, or one that is away: what else is held tells which.
            log.debug("%s: no recalls: %s", self.label, fault)

    async def _epoch_end(self, epoch: int) -> None:
        """Until the header shows another epoch: an idle VF would learn of it at its next call."""
        while True:
            await self._around.watch()
            try:
                if self._header().epoch != epoch:
                    self._doubted.set()
                    return
            except VaccelError:
                # Torn, or unplugged this moment: the next look or the watcher knows more.
                continue

    def _move(self, event: Event) -> None:
        self.state = move(self.label, self.state, event)

    def _failed(self, event: Event, fault: VaccelError) -> None:
        self._move(event)
        self.reason = str(fault)
        # A host that is away for an hour is a few events, not a thousand.
        if self.reason not in self._told and len(self._told) < _LINES_PER_OUTAGE:
            self._told.add(self.reason)
            log.warning("%s: %s: %s", self.label, self.state.value, self.reason)

    # --- serving apps ----------------------------------------------------------------------

    async def ask(self, call: Callable[[Compute], Awaitable[T]], context: str = "") -> T:
        """Call the host; where it is away, call again for ``retry_seconds`` at most.

        Raises what the call raised, Unavailable naming the VF and its state, Detached after
        ``vanish``, DeviceLost where the context did not survive.
        """
        give_up: float | None = None
        while True:
            compute = await self._connected(give_up)
            if context in self._lost:
                raise self._lost_fault(
                    f"context {context} was lost when {self.label} was reset",
                    "open a context again and load what it held",
                )
            fault: VaccelError
            try:
                return await call(compute)
            except DeviceLost as error:
                raise self._lost_fault(error.message, error.hint) from error
            except Unauthenticated as error:
                if compute is self._compute:
                    self._doubted.set()
                fault = error
            except Unavailable as error:
                fault = error
            except asyncio.CancelledError:
                if not self._closed_under(compute):
                    raise
                fault = Unavailable(f"the connection of {self.label} closed during the call")
            now = self._around.clock()
            give_up = now + self._around.retry_seconds if give_up is None else give_up
            if now >= give_up and self.state is not State.GONE:
                raise fault
            await self._around.pause(bounds.BACKOFF_FIRST_SECONDS)

    def _lost_fault(self, message: str, hint: str) -> VaccelError:
        """A reset; or the end of it all, where the host is just taking the VF away."""
        if self._recalled:
            return Detached(f"{self.label} is being taken away", hint="open another device")
        return DeviceLost(message, hint=hint)

    def _closed_under(self, compute: Compute) -> bool:
        """Whether a cancelled call is one whose channel our own side has closed: gRPC says so."""
        task = asyncio.current_task()
        return task is not None and not task.cancelling() and compute is not self._compute

    async def open_context(self, resume: str = "") -> str:
        """A new context of the VF, or one that outlived the agent or its connection."""
        context = await self.ask(lambda compute: compute.open_context("", resume))
        self._contexts.add(context)
        return context

    async def close_context(self, context: str) -> None:
        """Free a context now, or as soon as the host is back; its own grace may end before that."""
        lost = context in self._lost
        self._contexts.discard(context)
        self._lost.discard(context)
        compute = self._compute
        if compute is None:
            if not lost and self.state is not State.GONE:
                self._left.add(context)
            return
        try:
            await compute.close_context(context)
        except asyncio.CancelledError:
            if not self._closed_under(compute):
                raise
            if self.state is not State.GONE:
                self._left.add(context)
        except (Unavailable, TimedOut, Unauthenticated) as fault:
            self._left.add(context)
            log.warning("%s: context %s is left to the host: %s", self.label, context, fault)

    async def _connected(self, give_up: float | None) -> Compute:
        seconds = self._around.retry_seconds
        if give_up is not None:
            seconds = max(0.0, give_up - self._around.clock())
        if not self._settled.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._settled.wait()
            except TimeoutError:
                why = self.reason or "the host has not answered yet"
                raise Unavailable(
                    f"{self.label} is {self.state.value}: {why}", hint="try again in a moment"
                ) from None
        if self._compute is None:
            raise Detached(f"{self.label} was taken away", hint="open another device")
        return self._compute
