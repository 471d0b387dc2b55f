"""Waiting for an answer from something that may end before it answers."""

from __future__ import annotations

import asyncio

import pytest

from host_daemon.hypervisors.qmp.race import End, unless
from vaccel.errors import HostFault, Unavailable, VaccelError

DIED = HostFault("QEMU was killed")


async def _answer(given: int | VaccelError, after: asyncio.Event | None = None) -> int:
    if after is not None:
        await after.wait()
    if isinstance(given, VaccelError):
        raise given
    return given


def _end() -> End:
    return asyncio.get_running_loop().create_future()


async def test_an_answer_is_an_answer() -> None:
    assert await unless(_end(), _answer(5)) == 5
    with pytest.raises(HostFault, match="refused"):
        await unless(_end(), _answer(HostFault("refused")))


async def test_an_end_comes_before_an_answer_that_never_does() -> None:
    end = _end()
    end.set_result(DIED)
    with pytest.raises(HostFault, match="was killed"):
        await unless(end, _answer(5, asyncio.Event()))


async def test_who_finds_nobody_there_hears_how_it_ended() -> None:
    end = _end()
    asyncio.get_running_loop().call_later(0.01, end.set_result, DIED)
    with pytest.raises(HostFault, match="was killed"):
        await unless(end, _answer(Unavailable("its QEMU closed the monitor")))


async def test_who_does_not_answer_and_lives_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vaccel.bounds.VM_END_SECONDS", 0.01)
    with pytest.raises(Unavailable, match="closed the monitor"):
        await unless(_end(), _answer(Unavailable("its QEMU closed the monitor")))
