"""Contexts and principals: each reaches its own VF; a reset is told from what never was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from host_daemon.services.compute import Access, Contexts
from host_daemon.services.guard import Principal
from vaccel import bounds
from vaccel.errors import DeviceLost, Internal, InvalidArgument, NotFound

VFS = ("vf-a", "vf-b")
OPERATOR = Principal("operator", "admin")
A, B = (Principal(f"agent of {vf}", "tenant", vf) for vf in VFS)


class Worker:
    """The part of a worker's Compute that contexts need."""

    def __init__(self, vf: str) -> None:
        self.vf = vf
        self.opened = 0
        self.closed: list[str] = []
        self.name = ""

    async def devices(self) -> Sequence[str]:
        return [self.vf]

    async def open_context(self, device: str = "", resume: str = "") -> str:
        self.opened += 1
        return resume or self.name or f"ctx-{self.vf}-{self.opened}"

    async def close_context(self, context: str) -> None:
        self.closed.append(context)

    async def allocate(self, context: str, size: int) -> int:
        return size


class Host:
    def __init__(self) -> None:
        self.workers = {vf: Worker(vf) for vf in VFS}
        self.access = Access(lambda: VFS, self._link, 0)

    def _link(self, vf: str) -> Any:
        if vf not in self.workers:
            raise DeviceLost(f"VF {vf} is being reset")
        return self.workers[vf]

    def of(self, who: Principal) -> Any:
        return self.access.compute_of(who)


@pytest.fixture
def host() -> Host:
    return Host()


async def test_each_sees_its_own(host: Host) -> None:
    assert await host.of(A).devices() == ["vf-a"]
    assert await host.of(OPERATOR).devices() == ["vf-a", "vf-b"]
    context = await host.of(A).open_context()
    assert await host.of(A).allocate(context, 8) == 8
    assert await host.of(OPERATOR).allocate(context, 8) == 8
    for work in (host.of(B).allocate(context, 8), host.of(B).open_context(resume=context)):
        with pytest.raises(NotFound):
            await work
    with pytest.raises(NotFound, match="vf-b"):
        await host.of(A).open_context("vf-b")
    with pytest.raises(InvalidArgument, match="2 devices"):
        await host.of(OPERATOR).open_context()


async def test_closing_anothers_context_does_nothing(host: Host) -> None:
    context = await host.of(A).open_context()
    await host.of(B).close_context(context)
    assert host.workers["vf-a"].closed == []
    assert await host.of(A).allocate(context, 8) == 8
    await host.of(A).close_context(context)
    assert host.workers["vf-a"].closed == [context]
    await host.of(A).close_context(context)
    with pytest.raises(NotFound):
        await host.of(A).allocate(context, 8)


async def test_a_failed_vf_hides_itself_only(host: Host) -> None:
    del host.workers["vf-a"]
    assert await host.of(OPERATOR).devices() == ["vf-b"]
    with pytest.raises(DeviceLost):
        await host.of(A).devices()


async def test_a_worker_cannot_take_anothers_context(host: Host) -> None:
    context = await host.of(A).open_context()
    host.workers["vf-b"].name = context
    with pytest.raises(Internal, match="vf-b"):
        await host.of(B).open_context()
    assert await host.of(A).allocate(context, 8) == 8


async def test_a_reset_is_told_to_the_owner(host: Host) -> None:
    context = await host.of(A).open_context()
    host.access.contexts.forget("vf-a")
    for work in (host.of(A).allocate(context, 8), host.of(A).open_context(resume=context)):
        with pytest.raises(DeviceLost, match="reset") as caught:
            await work
        assert caught.value.hint
    with pytest.raises(NotFound):
        await host.of(B).allocate(context, 8)


def test_lost_contexts_are_remembered_within_a_bound() -> None:
    contexts = Contexts()
    for number in range(bounds.CONTEXTS_LOST + 10):
        contexts.add(f"ctx-{number}", "vf-a")
    contexts.forget("vf-a")
    with pytest.raises(NotFound):
        contexts.vf("ctx-0")
    with pytest.raises(DeviceLost):
        contexts.check(f"ctx-{bounds.CONTEXTS_LOST + 9}")
