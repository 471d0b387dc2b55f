"""Tokens and credentials: once, for one VF, in one epoch, and not by guessing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from host_daemon.control.credentials import Credentials
from host_daemon.core.lifecycle import VfState
from host_daemon.core.records import PfRecord, VfRecord
from host_daemon.store.memory import MemoryStore
from vaccel import bounds, ids
from vaccel.errors import Exhausted, Unauthenticated

MINUTE_NS = 60_000_000_000
PF = PfRecord("pf-1", "npu0", "npu", "kcloud-1", 8, 48 << 30, 1)


def vf_record(vf: str, state: VfState = VfState.ATTACHED) -> VfRecord:
    size = 6 << 30
    return VfRecord(
        vf, vf, "default", PF.id, "npu.1c.6g", (0,), size, 1 << 28, state, 3, 1, local=True
    )


@dataclass
class Host:
    """The part of the host's context that credentials need, with a clock that tests turn."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(lambda: "host-1", lambda: 1))
    now: int = 10 * MINUTE_NS
    counter: Any = field(default_factory=itertools.count)

    def unix_ns(self) -> int:
        return self.now

    def random(self, size: int) -> bytes:
        return (int(next(self.counter)) + (7 << 200)).to_bytes(size, "big")


class Desk:
    """Credentials over a store with two VFs."""

    def __init__(self) -> None:
        self.host = Host()
        self.enrolled: list[tuple[str, int]] = []
        self.credentials = self.restarted()
        self.one, self.other = (ids.new_id("vf", n, bytes) for n in (1, 2))
        with self.host.store.transaction() as tx:
            tx.put_pf(PF)
            tx.put_vf(vf_record(self.one))
            tx.put_vf(vf_record(self.other))

    def restarted(self) -> Credentials:
        async def on_enrolled(vf: str, epoch: int) -> None:
            self.enrolled.append((vf, epoch))

        self.credentials = Credentials(self.host, on_enrolled)  # type: ignore[arg-type]
        return self.credentials

    def token(self, vf: str, epoch: int = 3) -> bytes:
        with self.host.store.transaction() as tx:
            return self.credentials.issue_token(tx, vf, epoch)

    def change(self, vf: str, **changes: Any) -> None:
        with self.host.store.transaction() as tx:
            tx.put_vf(replace(tx.get_vf(vf), **changes))


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def refused(desk: Desk, vf: str, epoch: int, token: bytes) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await desk.credentials.enrol(vf, epoch, token, "0.1")
    assert caught.value.hint and str(epoch) in caught.value.message


async def test_a_token_is_good_once(desk: Desk) -> None:
    token, its = desk.token(desk.one), desk.token(desk.other)
    for vf, epoch, shown in (
        (desk.one, 3, its),
        (desk.one, 2, token),
        (desk.one, 4, token),
        (desk.other, 3, token),
        ("vf-nowhere", 3, token),
        (desk.one, 3, b""),
    ):
        await refused(desk, vf, epoch, shown)
    assert not desk.enrolled
    credential = await desk.credentials.enrol(desk.one, 3, token, "0.1")
    assert desk.enrolled == [(desk.one, 3)]
    await refused(desk, desk.one, 3, token)
    found = desk.credentials.check(credential)
    assert (found.vf, found.epoch) == (desk.one, 3)


async def test_a_token_is_for_a_vf_that_somebody_has(desk: Desk) -> None:
    token = desk.token(desk.one)
    for state in (VfState.READY, VfState.DETACHING, VfState.FAILED, VfState.DESTROYING):
        desk.change(desk.one, state=state)
        await refused(desk, desk.one, 3, token)
    desk.change(desk.one, state=VfState.ATTACHING)
    assert await desk.credentials.enrol(desk.one, 3, token, "0.1")


async def test_a_credential_survives_a_restart_and_not_an_epoch(desk: Desk) -> None:
    credential = await desk.credentials.enrol(desk.one, 3, desk.token(desk.one), "0.1")
    other = await desk.credentials.enrol(desk.other, 3, desk.token(desk.other), "0.1")
    desk.restarted()
    assert not desk.credentials.seen(desk.one, 3)
    desk.credentials.check(credential)
    assert desk.credentials.seen(desk.one, 3)
    desk.change(desk.one, epoch=4)
    desk.token(desk.one, 4)
    for shown in (credential, credential[:-1], credential + "0", "", "é"):
        with pytest.raises(Unauthenticated) as caught:
            desk.credentials.check(shown)
        assert caught.value.hint
    assert desk.credentials.check(other).vf == desk.other
    assert not desk.credentials.seen(desk.one, 3)


async def test_the_store_keeps_digests_only(desk: Desk) -> None:
    token = desk.token(desk.one)
    credential = await desk.credentials.enrol(desk.one, 3, token, "0.1")
    kept = repr(desk.host.store._tables)
    assert credential not in kept and repr(token) not in kept


async def test_guessing_is_slow_and_a_neighbour_does_not_notice(desk: Desk) -> None:
    token, its = desk.token(desk.one), desk.token(desk.other)
    for guess in range(bounds.ENROL_ATTEMPTS_PER_MINUTE):
        await refused(desk, desk.one, 3, guess.to_bytes(32, "little"))
    with pytest.raises(Exhausted, match=desk.one) as caught:
        await desk.credentials.enrol(desk.one, 3, token, "0.1")
    assert "wait" in caught.value.hint
    assert await desk.credentials.enrol(desk.other, 3, its, "0.1")
    desk.host.now += MINUTE_NS
    assert await desk.credentials.enrol(desk.one, 3, token, "0.1")


async def test_names_that_are_made_up_fill_a_bounded_table(desk: Desk) -> None:
    for number in range(2 * bounds.VFS_PER_HOST):
        await refused(desk, f"vf-{number}" + "x" * 1000, 1, b"")
    assert len(desk.credentials._attempts) <= bounds.VFS_PER_HOST
    assert max(map(len, desk.credentials._attempts)) <= bounds.NAME_BYTES


async def test_a_vf_may_come_and_go_as_often_as_it_likes(desk: Desk) -> None:
    for epoch in range(4, 4 + 3 * bounds.ENROL_ATTEMPTS_PER_MINUTE):
        desk.change(desk.one, epoch=epoch)
        token = desk.token(desk.one, epoch)
        assert await desk.credentials.enrol(desk.one, epoch, token, "1")
