"""What every hypervisor driver must do, against a real guest.

A driver's test file subclasses the suites and has the fixtures ``hypervisor``, ``make_spec`` and
``guest``: a running VM that the tests share, and leave as they found it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from host_daemon.core.hypervisor import Hypervisor
from tests.conformance.guest import WINDOW_BYTES, Guest, SpecFactory, gone, rung, window
from vaccel import bounds
from vaccel.errors import (
    HostFault,
    InvalidArgument,
    TimedOut,
    Unavailable,
    VaccelError,
    WrongState,
)


class ExecuteSuite:
    """Commands in the guest."""

    async def test_output_streams_and_exit_code(self, guest: Guest) -> None:
        script = "echo out; echo err >&2; exit 7"
        assert await guest.run("sh", "-c", script) == (b"out\n", b"err\n", 7)

    async def test_stdin_and_bytes_that_are_no_text(self, guest: Guest) -> None:
        data = bytes(range(256)) * 64
        assert await guest.run("cat", stdin=data) == (data, b"", 0)

    async def test_user(self, guest: Guest) -> None:
        assert await guest.run("id", "-un") == (b"root\n", b"", 0)
        assert await guest.run("id", "-un", user="app") == (b"app\n", b"", 0)
        out, err, code = await guest.run("true", user="nobody-by-that-name")
        assert out == b"" and b"nobody-by-that-name" in err and code != 0

    async def test_arguments_are_not_a_shell_s(self, guest: Guest) -> None:
        out, _, _ = await guest.run("printf", "%s|", "a b", "$HOME", "--", "*", "é", "")
        assert out.decode() == "a b|$HOME|--|*|é||"

    async def test_a_program_that_is_not_there(self, guest: Guest) -> None:
        out, err, code = await guest.run("no-such-program")
        assert out == b"" and b"no-such-program" in err and code == 127

    async def test_a_command_that_dies_by_a_signal(self, guest: Guest) -> None:
        assert (await guest.run("sh", "-c", "kill -KILL $$"))[2] == -9

    async def test_several_at_once(self, guest: Guest) -> None:
        commands = [guest.run("sh", "-c", f"sleep 0.2; echo {i}") for i in range(4)]
        results = await asyncio.gather(*commands)
        assert [out for out, _, _ in results] == [b"0\n", b"1\n", b"2\n", b"3\n"]

    async def test_a_deadline_ends_the_command(self, guest: Guest) -> None:
        with pytest.raises(TimedOut, match=r"sh in VM shared ran for 0\.5 s"):
            await guest.run("sh", "-c", "sleep 4321; true", timeout=0.5)
        async with asyncio.timeout(20):
            # Bracketed, so that it does not find itself.
            while (await guest.run("pgrep", "-f", "sleep 432[1]"))[2] == 0:
                pass

    async def test_much_output(self, guest: Guest) -> None:
        out, _, code = await guest.run("head", "-c", str(bounds.MIB), "/dev/zero")
        assert (len(out), code) == (bounds.MIB, 0)

    @pytest.mark.parametrize("command", [(), ("",), ("a\0b",), ("x" * 200_000,)])
    async def test_what_is_no_command(self, guest: Guest, command: Sequence[str]) -> None:
        with pytest.raises(InvalidArgument):
            await guest.run(*command)

    @pytest.mark.parametrize("user", ["-x", "a b", "root;id", "ü"])
    async def test_what_is_no_user(self, guest: Guest, user: str) -> None:
        with pytest.raises(InvalidArgument, match="user"):
            await guest.run("true", user=user)

    async def test_too_much_input(self, guest: Guest) -> None:
        with pytest.raises(InvalidArgument):
            await guest.run("cat", stdin=bytes(bounds.EXEC_STDIN_BYTES + 1))

    async def test_console_from_its_beginning(self, guest: Guest) -> None:
        await guest.run("sh", "-c", "echo marker-on-the-console > /dev/console")
        text = b"".join([chunk async for chunk in guest.machine.console()])
        assert b"marker-on-the-console" in text

    async def test_console_followed(self, guest: Guest) -> None:
        await guest.run(
            "sh", "-c", "(sleep 0.5; echo later-line > /dev/console) > /dev/null 2>&1 &"
        )
        seen = b""
        async with asyncio.timeout(20):
            async for chunk in guest.machine.console(follow=True):
                seen += chunk
                if b"later-line" in seen:
                    return


class WindowSuite:
    """Windows, in and out."""

    @pytest_asyncio.fixture(autouse=True, loop_scope="session")
    async def nothing_left(self, guest: Guest) -> AsyncIterator[None]:
        """A test that fails half-way must not fail the next."""
        yield
        for device in await guest.machine.plugged():
            await guest.machine.unplug(device, 30)

    async def test_a_window_and_its_doorbell(self, guest: Guest) -> None:
        with window("one", b"window-1") as plug:
            await guest.machine.plug(plug)
            assert list(await guest.machine.plugged()) == ["one"]
            assert await guest.windows() == [f"window-1 {WINDOW_BYTES}"]
            assert await rung(plug.doorbell) == 1
            assert os.pread(plug.memfd, 8, 8) == b"answered"
            await guest.machine.unplug("one", 30)
            assert list(await guest.machine.plugged()) == []
            assert await guest.windows() == []

    async def test_several_windows(self, guest: Guest) -> None:
        large = 256 * bounds.MIB
        with (
            window("a", b"window-a") as a,
            window("b", b"window-b") as b,
            window("c", b"window-c", large) as c,
        ):
            for plug in (a, b, c):
                await guest.machine.plug(plug)
            assert sorted(await guest.windows()) == [
                f"window-a {WINDOW_BYTES}",
                f"window-b {WINDOW_BYTES}",
                f"window-c {large}",
            ]
            assert [await rung(plug.doorbell) for plug in (a, b, c)] == [1, 1, 1]
            await guest.machine.unplug("b", 30)
            assert list(await guest.machine.plugged()) == ["a", "c"]
            await asyncio.gather(*(guest.machine.unplug(name, 30) for name in "ac"))
        assert list(await guest.machine.plugged()) == []

    async def test_again_and_again(self, guest: Guest) -> None:
        # QEMU 7.2 crashed after 15 where its own vectors had been announced.
        for turn in range(30):
            with window("again", b"turn-%03d" % turn) as plug:
                await guest.machine.plug(plug)
                await guest.machine.unplug("again", 30)
        with window("again", b"the-last") as plug:
            await guest.machine.plug(plug)
            assert await guest.windows() == [f"the-last {WINDOW_BYTES}"]
            assert await rung(plug.doorbell) == 1
            await guest.machine.unplug("again", 30)

    async def test_plugged_twice(self, guest: Guest) -> None:
        with window("twice", b"window-2") as plug:
            await guest.machine.plug(plug)
            with pytest.raises(WrongState, match="device twice is plugged into VM shared"):
                await guest.machine.plug(plug)
            await guest.machine.unplug("twice", 30)

    async def test_unplugging_what_is_not_there(self, guest: Guest) -> None:
        await guest.machine.unplug("nothing", 1)

    async def test_windows_that_would_crash_the_vm(self, guest: Guest) -> None:
        with window("odd", b"", 3 * 4096) as odd, window("good", b"") as good:
            for plug in (odd, changed(good, size=2 * WINDOW_BYTES), changed(good, device="a b")):
                with pytest.raises(InvalidArgument):
                    await guest.machine.plug(plug)
        assert guest.machine.alive
        assert list(await guest.machine.plugged()) == []

    async def test_an_unplug_is_no_event_of_the_guest_s(self, guest: Guest) -> None:
        guest.events.clear()
        with window("quiet", b"") as plug:
            await guest.machine.plug(plug)
            await guest.machine.unplug("quiet", 30)
        assert guest.events == []


class LifeSuite:
    """Start, adopt, reboot, die, stop."""

    async def test_adopted_after_release(self, hypervisor: Hypervisor, guest: Guest) -> None:
        with window("kept", b"kept-one") as plug:
            await guest.machine.plug(plug)
            pid = guest.machine.pid
            await guest.machine.release()
            adopted = await hypervisor.adopt(guest.spec, guest.hear)
            assert adopted is not None
            guest.machine = adopted
            assert (adopted.pid, adopted.alive) == (pid, True)
            await adopted.wait_ready(30)
            assert list(await adopted.plugged()) == ["kept"]
            assert await guest.windows() == [f"kept-one {WINDOW_BYTES}"]
            assert await rung(plug.doorbell) == 1
            await adopted.unplug("kept", 30)

    async def test_started_twice(self, hypervisor: Hypervisor, guest: Guest) -> None:
        with pytest.raises(WrongState, match="shared"):
            await hypervisor.start(guest.spec, guest.hear)
        assert guest.machine.alive
        await guest.machine.wait_ready(10)

    async def test_the_guest_reboots(self, guest: Guest) -> None:
        guest.events.clear()
        with window("stays", b"rebooted") as plug:
            await guest.machine.plug(plug)
            waiting = asyncio.ensure_future(guest.run("sleep", "4321"))
            await guest.run("sh", "-c", "(sleep 0.3; reboot -f) > /dev/null 2>&1 &")
            await guest.event("reset")
            # What ran in it is lost, and says so rather than to wait.
            with pytest.raises(Unavailable, match="shared"):
                await asyncio.wait_for(waiting, 30)
            await guest.machine.wait_ready(bounds.VM_BOOT_SECONDS)
            assert list(await guest.machine.plugged()) == ["stays"]
            assert await guest.windows() == [f"rebooted {WINDOW_BYTES}"]
            assert await rung(plug.doorbell) == 1
            await guest.machine.unplug("stays", 30)

    async def test_killed(self, hypervisor: Hypervisor, make_spec: SpecFactory) -> None:
        guest = Guest(make_spec("killed"))
        machine = guest.machine = await hypervisor.start(guest.spec, guest.hear)
        waiting = asyncio.ensure_future(machine.wait_ready(60))
        os.kill(machine.pid, signal.SIGKILL)
        died = await guest.event("died", 10)
        assert "SIGKILL" in died.reason
        with pytest.raises(HostFault, match="killed"):
            await waiting
        assert not machine.alive
        assert gone(machine.pid)
        with pytest.raises(Unavailable, match="killed"):
            await guest.run("true")
        with pytest.raises(Unavailable, match="killed"):
            await machine.plugged()
        await machine.stop()
        assert await hypervisor.adopt(guest.spec, guest.hear) is None

    async def test_powered_off_by_its_guest(
        self, hypervisor: Hypervisor, make_spec: SpecFactory
    ) -> None:
        guest = Guest(make_spec("leaving"))
        guest.machine = await hypervisor.start(guest.spec, guest.hear)
        await guest.machine.wait_ready(bounds.VM_BOOT_SECONDS)
        waiting = asyncio.ensure_future(guest.run("sleep", "4321"))
        await guest.run("sh", "-c", "(sleep 0.3; poweroff -f) > /dev/null 2>&1 &")
        assert (await guest.event("died")).reason.startswith("guest-shutdown")
        with pytest.raises(Unavailable, match="leaving"):
            await waiting
        await guest.machine.stop()

    async def test_stopped(self, hypervisor: Hypervisor, make_spec: SpecFactory) -> None:
        guest = Guest(make_spec("stopped"))
        machine = guest.machine = await hypervisor.start(guest.spec, guest.hear)
        await machine.wait_ready(bounds.VM_BOOT_SECONDS)
        async with asyncio.timeout(20):
            await machine.stop(timeout=60)
        assert gone(machine.pid)
        assert not machine.alive
        # What was asked for is no news.
        assert guest.events == []

    async def test_stopped_by_force(self, hypervisor: Hypervisor, make_spec: SpecFactory) -> None:
        guest = Guest(make_spec("forced"))
        machine = await hypervisor.start(guest.spec, guest.hear)
        async with asyncio.timeout(5):
            await machine.stop(force=True)
        assert gone(machine.pid)

    async def test_not_ready_in_time(self, hypervisor: Hypervisor, make_spec: SpecFactory) -> None:
        guest = Guest(make_spec("slow"))
        machine = await hypervisor.start(guest.spec, guest.hear)
        try:
            with pytest.raises(TimedOut, match=r"VM slow did not get ready within 0\.1 s"):
                await machine.wait_ready(0.1)
        finally:
            await machine.stop(force=True)

    async def test_a_guest_that_does_not_let_go(
        self, hypervisor: Hypervisor, make_spec: SpecFactory
    ) -> None:
        guest = Guest(make_spec("stuck"))
        machine = await hypervisor.start(guest.spec, guest.hear)
        try:
            with window("held", b"") as plug:
                await machine.plug(plug)
                # Its firmware has not even begun: nobody answers.
                with pytest.raises(TimedOut, match="VM stuck did not let go of device held"):
                    await machine.unplug("held", 0.2)
                assert list(await machine.plugged()) == ["held"]
                await machine.unplug("held", 0.2, force=True)
                assert list(await machine.plugged()) == []
        finally:
            await machine.stop(force=True)

    @pytest.mark.parametrize("field", ["kernel", "initrd"])
    async def test_a_missing_file_is_named(
        self, hypervisor: Hypervisor, make_spec: SpecFactory, field: str
    ) -> None:
        spec = make_spec("missing", **{field: Path("/nowhere/to-be-found")})
        with pytest.raises(HostFault, match="/nowhere/to-be-found") as error:
            await hypervisor.start(spec, lambda event: None)
        assert error.value.hint
        assert not spec.folder.exists()

    async def test_a_start_that_fails_leaves_nothing(
        self, hypervisor: Hypervisor, make_spec: SpecFactory, tmp_path: Path
    ) -> None:
        # It has all it needs but a kernel that is one, and more memory than can be had.
        spec = make_spec("broken", memory_bytes=1 << 50)
        with pytest.raises(HostFault, match="broken"):
            await hypervisor.start(spec, lambda event: None)
        assert not spec.folder.exists()

    @pytest.mark.parametrize(
        "changes", [{"memory_bytes": 1}, {"cpus": 0}, {"accelerator": "magic"}]
    )
    async def test_what_is_no_vm(
        self, hypervisor: Hypervisor, make_spec: SpecFactory, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgument):
            await hypervisor.start(make_spec("nonsense", **changes), lambda event: None)

    async def test_adopting_what_never_ran(
        self, hypervisor: Hypervisor, make_spec: SpecFactory
    ) -> None:
        assert await hypervisor.adopt(make_spec("never"), lambda event: None) is None

    async def test_probe(self, hypervisor: Hypervisor) -> None:
        accelerator, why = await hypervisor.probe()
        assert accelerator in ("kvm", "tcg") and why
        for override in ("kvm", "tcg"):
            assert (await hypervisor.probe(override))[0] == override
        with pytest.raises(VaccelError, match="magic"):
            await hypervisor.probe("magic")
