"""Compute for principals: each reaches the workers of its own VFs, and no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from host_daemon.services.guard import Principal
from vaccel import bounds
from vaccel.compute import Compute
from vaccel.errors import DeviceLost, Internal, InvalidArgument, NotFound
from vaccel.model import Device
from vaccel.routing import RoutingCompute
from vaccel.rpc.server import ContextHolder

T = TypeVar("T")

# The Compute of a VF's worker; raises DeviceLost while there is none.
LinkOf = Callable[[str], Compute]

# On whose behalf a context is freed that no client came back for.
_NOBODY_YET: Final = Principal("start-up", "admin")


class Contexts:
    """Which VF holds a context: learnt when one is opened, or from a worker that was adopted."""

    def __init__(self) -> None:
        self._vf: dict[str, str] = {}
        # Contexts that a reset ended, so that their owners are told so; the oldest go first.
        self._lost: dict[str, str] = {}

    def add(self, context: str, vf: str) -> None:
        """A context of a VF. Raises Internal where a worker names one of another VF."""
        if self._vf.get(context, vf) != vf:
            raise Internal(f"the worker of {vf} named a context of another VF")
        self._vf[context] = vf

    def remove(self, context: str) -> None:
        """It was closed."""
        self._vf.pop(context, None)

    def vf(self, context: str) -> str:
        """Its VF, also where a reset ended it. Raises NotFound."""
        vf = self._vf.get(context) or self._lost.get(context)
        if vf is None:
            raise NotFound(f"no context {context[:64]!r}", hint="open one; a reset ends them all")
        return vf

    def forget(self, vf: str) -> None:
        """The VF's worker was replaced: its contexts are gone."""
        for context in [c for c, owner in self._vf.items() if owner == vf]:
            self._lost[context] = self._vf.pop(context)
        while len(self._lost) > bounds.CONTEXTS_LOST:
            del self._lost[next(iter(self._lost))]

    def check(self, context: str) -> None:
        """Raise DeviceLost where a reset ended a context."""
        if context in self._lost:
            raise DeviceLost(
                f"context {context[:64]} ended when its VF was reset",
                hint="open the device again, and load programs and buffers again",
            )


class ScopedCompute(RoutingCompute):
    """What one principal may use: its VF, or for an operator all of ``every()``."""

    def __init__(
        self,
        principal: Principal,
        every: Callable[[], Sequence[str]],
        link_of: LinkOf,
        contexts: Contexts,
    ) -> None:
        self._vf = principal.vf
        self._every = every
        self._link_of = link_of
        self._contexts = contexts

    def _mine(self) -> Sequence[str]:
        return [self._vf] if self._vf else self._every()

    async def devices(self) -> Sequence[Device]:
        """See ``Compute``. For an operator, without those that are being reset or have failed."""
        found: list[Device] = []
        for vf in self._mine():
            try:
                found += await self._link_of(vf).devices()
            except DeviceLost:
                if self._vf:
                    raise
        return found

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``."""
        vf = self._owned(resume) if resume else self._choose(device)
        self._contexts.check(resume)
        context = await self._link_of(vf).open_context(vf, resume)
        self._contexts.add(context, vf)
        return context

    def _choose(self, device: str) -> str:
        mine = self._mine()
        if device:
            if device not in mine:
                raise NotFound(f"no device {device[:64]!r} here", hint=f"there are: {list(mine)}")
            return device
        if len(mine) != 1:
            raise InvalidArgument(f"{len(mine)} devices; name one of {list(mine)}")
        return mine[0]

    def _owned(self, context: str) -> str:
        vf = self._contexts.vf(context)
        if vf not in self._mine():
            # As if it did not exist: another tenant's ids are nobody's business.
            raise NotFound(f"no context {context[:64]!r}", hint="open one; a reset ends them all")
        return vf

    async def _ask(self, context: str, call: Callable[[Compute], Awaitable[T]]) -> T:
        vf = self._owned(context)
        self._contexts.check(context)
        return await call(self._link_of(vf))

    async def close_context(self, context: str) -> None:
        """See ``Compute``. One that is gone already is no error."""
        try:
            self._owned(context)
        except NotFound:
            return
        with suppress(NotFound, DeviceLost):
            await super().close_context(context)
        self._contexts.remove(context)


class Access:
    """How principals reach workers: one for all endpoints, so that contexts are known to each."""

    def __init__(self, every: Callable[[], Sequence[str]], link_of: LinkOf, grace: float) -> None:
        self._every = every
        self._link_of = link_of
        self.contexts = Contexts()
        self.holder = ContextHolder(grace)

    def compute_of(self, principal: Principal) -> Compute:
        """What a principal may use."""
        return ScopedCompute(principal, self._every, self._link_of, self.contexts)

    def adopted(self, context: str, vf: str) -> None:
        """A context of a worker that outlived a daemon: its holder may come back for it."""
        self.contexts.add(context, vf)
        self.holder.expire(context, self.compute_of(_NOBODY_YET))
