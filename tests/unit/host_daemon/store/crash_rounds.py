"""Kills a writer again and again, and checks the store that it leaves. Run: SEED ROUNDS FILE.

It forks its writers itself, single-threaded, because starting an interpreter for each would take a
minute. The writer moves two VFs in step along attach and detach, and says each commit's number on a
pipe.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from host_daemon.core.lifecycle import VfEvent, VfState, move
from host_daemon.core.records import AuditRecord, Intent, IntentKind, TokenRecord
from host_daemon.core.store import Transaction
from host_daemon.store.sqlite import SqliteStore
from tests.conformance.store import SECRET, VF, furnish

PAIR = ("vf-1", "vf-2")
READY = replace(VF, state=VfState.READY, vm="", epoch=1)


def opened(path: Path) -> SqliteStore:
    return SqliteStore.open(path, lambda: "host-1", lambda: 1)


def begin(path: Path) -> None:
    with closing(opened(path)) as store, store.transaction() as tx:
        furnish(tx)
        tx.put_vf(READY)
        tx.put_vf(replace(READY, id="vf-2", name="other"))


def step(tx: Transaction, number: int) -> None:
    """One commit: both VFs move, an intent is there exactly while they are busy."""
    for name in PAIR:
        vf = tx.get_vf(name)
        if vf.state is VfState.READY:
            state = move(vf.state, VfEvent.ATTACH, name)
            tx.put_vf(replace(vf, state=state, vm="vm-1", epoch=number))
            tx.add_intent(Intent(f"int-{name}", IntentKind.VF_ATTACH, name, number))
            tx.put_token(TokenRecord(name, number, SECRET))
        elif vf.state is VfState.ATTACHING:
            tx.put_vf(replace(vf, state=VfState.ATTACHED, epoch=number))
            tx.remove_intent(f"int-{name}")
        else:
            tx.put_vf(replace(vf, state=VfState.READY, vm="", epoch=number))
    tx.append_audit(AuditRecord(number, "p", "admin", "Step", "x" * 200, "OK"))


def write(path: Path, out: int) -> None:
    with closing(opened(path)) as store:
        while True:
            with store.transaction() as tx:
                number = tx.get_vf("vf-1").epoch + 1
                step(tx, number)
            os.write(out, number.to_bytes(8, "little"))


def kill_one(path: Path, commits: int) -> int:
    """Fork a writer, kill it after some commits; returns the last one that it confirmed."""
    source, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(source)
            write(path, out)
        finally:
            os._exit(1)
    os.close(out)
    said = b""
    while len(said) < 8 * commits:
        piece = os.read(source, 8 * commits - len(said))
        if not piece:
            raise SystemExit("the writer ended by itself")
        said += piece
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while piece := os.read(source, 4096):
        said += piece
    os.close(source)
    return int.from_bytes(said[-8:], "little")


def check(path: Path, confirmed: int) -> int:
    """Refuse what a crash must not leave; returns the last commit that is there."""
    with closing(opened(path)) as store, store.transaction() as tx:
        one, other = (tx.get_vf(name) for name in PAIR)
        assert (one.state, one.epoch, one.vm) == (other.state, other.epoch, other.vm)
        assert one.epoch in (confirmed, confirmed + 1), (one.epoch, confirmed)
        busy = set(PAIR) if one.state is VfState.ATTACHING else set()
        assert {intent.object for intent in tx.list_intents()} == busy
        assert tx.list_audit(1)[0].when_unix_ns == one.epoch
        return one.epoch


def main(seed: str, rounds: str, file: str) -> None:
    chance = random.Random(int(seed))
    path = Path(file)
    begin(path)
    left = lost = 0
    for _ in range(int(rounds)):
        confirmed = kill_one(path, chance.randint(1, 12))
        left = check(path, confirmed)
        lost += left != confirmed
    sys.stdout.write(f"{left} commits, {lost} unconfirmed ones found\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
