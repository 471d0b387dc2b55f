from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.vaccel.aperture.strange_lender import strange_lender
from vaccel import bounds
from vaccel.aperture import lending
from vaccel.aperture.layout import LAYOUT_VERSION
from vaccel.aperture.lending import MEMFD, PCI, Lender, Loan
from vaccel.aperture.window import create_window
from vaccel.errors import Detached, NotFound, Unavailable, Unsupported

SIZE = 1 << 20


async def find(context: str) -> Loan:
    if context != "ctx-1":
        raise NotFound(f"no context {context!r}", hint="open one first")
    return Loan("vf", MEMFD, create_window(SIZE), os.eventfd(0), SIZE)


@pytest.fixture
async def lender(tmp_path: Path) -> AsyncIterator[Lender]:
    async with Lender(tmp_path / "vf.sock.window", 0o600, find) as lender:
        yield lender


async def borrowed(folder: Path, context: str = "ctx-1") -> lending.Borrowed:
    return await asyncio.to_thread(lending.borrow, folder / "vf.sock.window", context)


def give_back(loan: lending.Borrowed) -> None:
    loan.socket.close()
    os.close(loan.window)
    os.close(loan.doorbell)


async def test_an_app_gets_both_descriptors(tmp_path: Path, lender: Lender) -> None:
    loan = await borrowed(tmp_path)
    assert (loan.kind, loan.window_bytes) == (MEMFD, SIZE)
    assert os.fstat(loan.window).st_size == SIZE
    assert not os.get_inheritable(loan.window)
    os.write(loan.doorbell, (1).to_bytes(8, "little"))
    give_back(loan)


async def test_a_context_that_is_not_there_is_refused(tmp_path: Path, lender: Lender) -> None:
    with pytest.raises(NotFound, match="ctx-2"):
        await borrowed(tmp_path, "ctx-2")


async def test_a_recall_reaches_the_owners_borrowers_only(tmp_path: Path, lender: Lender) -> None:
    loan = await borrowed(tmp_path)
    await lender.recall("another", Detached("no"))
    await lender.recall("vf", Detached("VF was taken away", hint="open another"))
    data = await asyncio.get_running_loop().sock_recv(loan.socket, 4096)
    reason = lending.recalled(data)
    assert isinstance(reason, Detached)
    assert str(reason) == "VF was taken away (open another)"
    give_back(loan)


async def test_an_end_without_a_word_is_a_lender_that_died(tmp_path: Path) -> None:
    async with Lender(tmp_path / "vf.sock.window", 0o600, find):
        loan = await borrowed(tmp_path)
    data = await asyncio.get_running_loop().sock_recv(loan.socket, 4096)
    assert isinstance(lending.recalled(data), Unavailable)
    give_back(loan)
    with pytest.raises(Unavailable, match="nobody lends"):
        await borrowed(tmp_path)


@pytest.mark.parametrize("noise", [b"\n", b"[1]", b"\xff" * 5000, b'{"context": 5}'])
async def test_noise_is_refused_and_the_next_is_served(
    tmp_path: Path, lender: Lender, noise: bytes
) -> None:
    def shout() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(tmp_path / "vf.sock.window"))
            sock.sendall(noise)
            try:
                return sock.recv(4096)
            except ConnectionResetError:  # it left more of the noise unread
                return b"code"

    assert b"code" in await asyncio.to_thread(shout)
    give_back(await borrowed(tmp_path))


def opened() -> set[str]:
    """Windows and doorbells that this process has open."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # others' come and go meanwhile
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {name for name in found if "vaccel-window" in name or "eventfd" in name}


def test_a_lender_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vf.sock.window"
    before = opened()
    with strange_lender(path, layout_version=7) as asked:
        with pytest.raises(Unsupported, match="layout_version 7, this SDK") as refused:
            lending.borrow(path, "ctx-1")
        assert str(LAYOUT_VERSION) in refused.value.message
        assert "guest packages" in refused.value.hint
    assert asked == [{"context": "ctx-1", "layout_version": LAYOUT_VERSION}]
    assert opened() == before
    # Those that said nothing of it had layout 1.
    with strange_lender(path):
        lending.borrow(path, "ctx-1").leave()


async def test_an_app_of_another_layout_is_refused(tmp_path: Path, lender: Lender) -> None:
    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(tmp_path / "vf.sock.window"))
            sock.sendall(b'{"context": "ctx-1", "layout_version": 7}\n')
            return sock.recv(4096)

    said = json.loads(await asyncio.to_thread(ask))
    assert said["code"] == "Unsupported" and "layout_version 7" in said["message"]
    (await borrowed(tmp_path)).leave()


def test_only_unix_sockets_have_a_lender() -> None:
    assert lending.path_of("unix:/run/a.sock") == Path("/run/a.sock.window")
    assert lending.path_of("10.0.2.100:7443") is None


# Borrows the window of a context and lets go when it is recalled, or never.
BORROWER = """
import pathlib, sys
from vaccel.aperture import lending
loan = lending.borrow(pathlib.Path(sys.argv[1]), "ctx-1")
print("has it", flush=True)
loan.socket.setblocking(True)
loan.socket.recv(1)
if sys.argv[2] == "lets go":
    loan.socket.close()
sys.stdin.read()
"""


@pytest.mark.parametrize("does", ["lets go", "holds on"])
async def test_who_holds_on_to_a_pci_window_is_ended(tmp_path: Path, does: str) -> None:
    async def find(_context: str) -> Loan:
        return Loan("0000:00:05.0", PCI, create_window(SIZE), os.eventfd(0), SIZE)

    pipe = asyncio.subprocess.PIPE
    async with Lender(tmp_path / "a.window", 0o600, find) as lender:
        app = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BORROWER, tmp_path / "a.window", does, stdin=pipe, stdout=pipe
        )
        assert app.stdout is not None and await app.stdout.readline() == b"has it\n"
        patience = 10.0 if does == "lets go" else 0.05
        await lender.recall("0000:00:05.0", Detached("VF was taken away"), patience)
        if does == "holds on":
            assert await app.wait() == -signal.SIGKILL
        else:
            assert app.returncode is None
        await app.communicate(b"")
    assert app.returncode == (0 if does == "lets go" else -signal.SIGKILL)


# Borrows the window of a context, and forks a child that keeps the socket; Python is not told.
FORKER = """
import ctypes, os, pathlib, sys
from vaccel.aperture import lending
loan = lending.borrow(pathlib.Path(sys.argv[1]), "ctx-1")
libc = ctypes.PyDLL(None)
child = libc.fork()
while not child:
    libc.pause()
print(child, flush=True)
sys.stdin.read()
loan.let_go()
print("has let go", flush=True)
libc.pause()
"""


class Deaths:
    """A lender, and the contexts of which it said that their process has died."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "d.window"
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.lender = Lender(self.path, 0o600, find, self.told.put)

    async def start(self, code: str, *more: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, self.path, *more, stdin=pipe, stdout=pipe
        )

    async def settled(self) -> None:
        """Until it looks at nobody any more."""
        async with asyncio.timeout(10):
            await asyncio.gather(*(t for t in self.lender._tasks if t.get_name() == "loan"))


async def test_the_death_of_a_process_is_seen_behind_its_child(tmp_path: Path) -> None:
    deaths = Deaths(tmp_path)
    async with deaths.lender:
        app = await deaths.start(FORKER)
        assert app.stdout is not None
        child = int(await app.stdout.readline())
        app.kill()
        assert await asyncio.wait_for(deaths.told.get(), 10) == "ctx-1"
        os.kill(child, signal.SIGKILL)
        await app.communicate()
        await deaths.settled()
        assert deaths.told.empty()


async def test_who_says_that_it_lets_go_is_looked_at_no_more(tmp_path: Path) -> None:
    deaths = Deaths(tmp_path)
    async with deaths.lender:
        app = await deaths.start(FORKER)
        assert app.stdout is not None and app.stdin is not None
        child = int(await app.stdout.readline())
        app.stdin.close()
        assert await app.stdout.readline() == b"has let go\n"
        await deaths.settled()
        for pid in (app.pid, child):
            os.kill(pid, signal.SIGKILL)
        await app.communicate()
        assert deaths.told.empty()


@pytest.mark.parametrize("dies", [True, False])
async def test_an_end_without_a_word_is_a_death_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    if not dies:
        monkeypatch.setattr(bounds, "DEATH_SECONDS", 0.05)
    deaths = Deaths(tmp_path)
    async with deaths.lender:
        app = await deaths.start(BORROWER, "lets go")
        assert app.stdout is not None and await app.stdout.readline() == b"has it\n"
        if dies:
            app.kill()
            assert await asyncio.wait_for(deaths.told.get(), 10) == "ctx-1"
        else:
            await deaths.lender.recall("vf", Detached("VF was taken away"))
        await deaths.settled()
        assert deaths.told.empty()
        await app.communicate(b"")
