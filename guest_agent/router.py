"""The Compute that the agent offers to apps: chooses the VF, and passes each call on to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from guest_agent.states import State
from guest_agent.upstream import Upstream
from vaccel.errors import InvalidArgument, NotFound, Unavailable, VaccelError
from vaccel.routing import RoutingCompute

if TYPE_CHECKING:
    # Loading these loads NumPy, which the watch over the bus need not wait for.
    from vaccel.compute import Compute, Progress
    from vaccel.model import Device

log = logging.getLogger(__name__)
T = TypeVar("T")


class Router(RoutingCompute):
    """Implements ``vaccel.compute.Compute`` over the VFs of this guest.

    A context belongs to the VF that opened it; its id is the host's own, unique everywhere.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._upstreams: list[Upstream] = []
        self._owners: dict[str, Upstream] = {}
        self._leaving = False

    def add(self, upstream: Upstream) -> None:
        """A VF came."""
        self._upstreams.append(upstream)

    def remove(self, upstream: Upstream) -> None:
        """A VF went. Its contexts stay known until their apps close them, and answer Detached."""
        self._upstreams.remove(upstream)

    def leave(self) -> None:
        """The agent ends: contexts live on for the host's grace; the next agent may resume them."""
        self._leaving = True

    @property
    def serving(self) -> bool:
        """Whether an app could open a context now."""
        return any(upstream.state is State.READY for upstream in self._upstreams)

    def choose(self, device: str) -> Upstream:
        """The VF of that id; "" is the only one. Raises NotFound, InvalidArgument, Unavailable."""
        known = sorted((u for u in self._upstreams if u.vf), key=lambda upstream: upstream.vf)
        names = ", ".join(upstream.vf for upstream in known)
        if not known:
            raise self._no_vf()
        if device:
            for upstream in known:
                if upstream.vf == device:
                    return upstream
            raise NotFound(f"no device {device[:80]!r} in this VM", hint=f"there is {names}")
        if len(known) > 1:
            raise InvalidArgument(
                f"this VM has {len(known)} devices and none is named", hint=f"one of {names}"
            )
        return known[0]

    def _no_vf(self) -> Unavailable:
        """None is plugged; or what is plugged cannot be used, which another one would not mend."""
        faults = [f"{u.label}: {u.reason}" for u in self._upstreams if u.reason]
        if not faults:
            hint = "on the host: vaccelctl vf attach VF --vm NAME"
            return Unavailable("no VF in this VM", hint=hint)
        return Unavailable(
            f"no VF in this VM can be used: {'; '.join(faults)}",
            hint="mend that in this VM; the agent looks again every few seconds",
        )

    def owner(self, context: str) -> Upstream:
        """The VF that holds a context. Raises NotFound."""
        upstream = self._owners.get(context)
        if upstream is None:
            raise NotFound(f"no context {context[:80]!r}", hint="open one first")
        return upstream

    async def devices(self) -> Sequence[Device]:
        """See ``Compute``. VFs that do not answer are left out, unless none does."""
        known = [upstream for upstream in self._upstreams if upstream.vf]
        asked = (upstream.ask(lambda compute: compute.devices()) for upstream in known)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: list[Device] = []
        faults: list[VaccelError] = []
        for answer in answers:
            if isinstance(answer, VaccelError):
                faults.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.extend(answer)
        if faults and not found:
            raise faults[0]
        return found

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``."""
        if resume and not device:
            upstream, context = await self._resumed(resume)
        else:
            upstream = self.choose(device)
            context = await upstream.open_context(resume)
        self._owners[context] = upstream
        return context

    async def _resumed(self, context: str) -> tuple[Upstream, str]:
        """Find whose context it is: this agent may not be the one that opened it."""
        owner = self._owners.get(context)
        candidates = [owner] if owner else [u for u in self._upstreams if u.vf]
        for upstream in candidates:
            try:
                return upstream, await upstream.open_context(context)
            except NotFound:
                continue
        if any(not upstream.vf for upstream in self._upstreams):
            # An agent that has just started: the context may be one of a VF still to be met.
            raise Unavailable(f"no context {context[:80]!r} yet", hint="try again in a moment")
        raise NotFound(f"no context {context[:80]!r} to resume", hint="open a new one")

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        if self._leaving:
            return
        upstream = self._owners.pop(context, None)
        if upstream is not None:
            await upstream.close_context(context)

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        """See ``Compute``. A wait that is taken up again waits for the rest of its time only."""
        deadline = self._clock() + timeout

        def call(to: Compute) -> Awaitable[Progress]:
            left = max(0.0, deadline - self._clock())
            return to.wait(context, stream, fence, left, acknowledged)

        return await self._ask(context, call)

    async def _ask(self, context: str, call: Callable[[Compute], Awaitable[T]]) -> T:
        return await self.owner(context).ask(call, context)
