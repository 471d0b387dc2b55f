"""What dies by itself or is killed: QEMU, the guest, its agent, the daemon."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.e2e.system import System, eventually, in_background
from vaccel.errors import NotFound, WrongState
from vaccel.inventory import VF

pytestmark = pytest.mark.vm


def test_an_agent_that_is_killed_comes_back(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "worker_loop", "/tmp/agent-stop")
    app.await_line("step 1")
    killed = system.agent(vm)
    system.shell(vm, f"kill -9 {killed}")
    steps = _steps(app.text())
    app.await_line(f"step {steps + 3}$")
    assert system.agent(vm) != killed
    system.program(vm, "once").checked()
    system.shell(vm, "touch /tmp/agent-stop")
    assert app.end() == 0, app.text()
    now = system.admin.vf(vf.id)
    assert (now.state, now.epoch, now.enrolled) == ("attached", vf.epoch, True)


def test_a_guest_that_reboots(system: System, spare: str) -> None:
    vf = system.alone("rebooting", spare)
    app = system.app(spare, "worker_loop", "/tmp/never")
    app.await_line("step 1")
    system.run(spare, ["sh", "-c", "reboot >/dev/null 2>&1 &"])
    eventually(lambda: system.admin.vf(vf.id).epoch > vf.epoch, 30.0, "a new epoch")
    eventually(lambda: system.admin.vf(vf.id).enrolled, 60.0, "an agent that enrols by itself")
    now = system.admin.vf(vf.id)
    # The firmware answers a reset from within with one of its own: two epochs are usual.
    assert (now.state, now.usage.contexts) == ("attached", 0)
    eventually(lambda: system.run(spare, ["true"]).code == 0, 60.0, "a guest that answers")
    system.program(spare, "once").checked()


def test_a_qemu_that_is_killed(system: System, spare: str) -> None:
    vf, leaving = system.alone("bereft", spare), system.attached("leaving", spare)
    # A guest that hangs does not let go of a VF: its detach is under way when QEMU dies.
    crash = ["sh", "-c", "echo 0 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger"]
    with (
        in_background(lambda: system.run(spare, crash)),
        in_background(lambda: _detach_after_panic(system, spare, leaving)) as outcome,
    ):
        eventually(lambda: system.admin.vf(leaving.id).state == "detaching", 20.0, "a detach")
        _kill(system, spare, vf)
    assert getattr(outcome[0], "state", outcome[0]) == "ready"
    _is_dead(system, spare, vf)
    for one in (vf, leaving):
        now = system.admin.vf(one.id)
        assert (now.state, now.vm, now.usage.contexts) == ("ready", "", 0)
        system.admin.destroy_vf(one.id)


def _detach_after_panic(system: System, spare: str, vf: VF) -> VF:
    said = lambda: b"Kernel panic" in b"".join(system.admin.console(spare))  # noqa: E731
    eventually(said, 15.0, "the guest's panic")
    return system.admin.detach_vf(vf.id)


def _kill(system: System, spare: str, vf: VF) -> None:
    os.kill(system.vm(spare).pid, signal.SIGKILL)
    seen = eventually(lambda: system.vm(spare).state == "dead", 20.0, "the death of the VM")
    freed = eventually(lambda: system.admin.vf(vf.id).state == "ready", 20.0, "a VF that is ready")
    # More is ready to run than there are cores: waiting for one is not the daemon's time.
    assert freed < 2.0 or os.getloadavg()[0] > (os.cpu_count() or 1)
    print(f"dead after {seen:.2f} s, VF ready {freed:.2f} s later")


def _is_dead(system: System, spare: str, vf: VF) -> None:
    dead = system.vm(spare)
    assert "SIGKILL" in dead.reason or "signal 9" in dead.reason, dead.reason
    begun = time.monotonic()
    for refused in (
        lambda: system.run(spare, ["true"]),
        lambda: system.admin.attach_vf(vf.id, vm=spare),
        lambda: list(system.admin.console(spare)),
    ):
        with pytest.raises((WrongState, NotFound)):
            refused()
    assert time.monotonic() - begun < 10.0  # nobody waits for it


def test_a_daemon_that_is_killed_under_a_running_app(system: System, vm: str, vf: VF) -> None:
    before = system.vm(vm)
    app = system.app(vm, "worker_loop", "/tmp/killed-stop", vf.id)
    app.await_line("step 3")
    system.kill_daemon()
    print(f"another daemon served after {system.start_daemon():.1f} s")
    after, now = system.vm(vm), system.admin.vf(vf.id)
    assert (after.state, after.pid) == ("running", before.pid)
    assert (now.state, now.epoch, now.worker_pid) == ("attached", vf.epoch, vf.worker_pid)
    steps = _steps(app.text())
    app.await_line(f"step {steps + 3}$")
    system.shell(vm, "touch /tmp/killed-stop")
    assert app.end() == 0, app.text()
    eventually(lambda: system.admin.vf(vf.id).usage.contexts == 0, 10.0, "no context left")


@pytest.mark.parametrize("moment", ["asked", "plugging", "waiting", "later"])
def test_a_daemon_that_is_killed_during_attach(
    system: System, vm: str, vf: VF, moment: str
) -> None:
    system.admin.detach_vf(vf.id)
    reached = threading.Event()

    def progress(step: str, _fraction: float) -> None:
        if step.startswith(moment):
            reached.set()

    with in_background(lambda: system.admin.attach_vf(vf.id, vm=vm, progress=progress)) as outcome:
        if moment in ("plugging", "waiting"):
            assert reached.wait(20.0)
        elif moment == "later":
            # Enrolling: between the token's use and the agent's first call.
            eventually(lambda: system.admin.vf(vf.id).enrolled, 20.0, "an enrolment")
        else:
            state = ("attaching", "attached")
            eventually(lambda: system.admin.vf(vf.id).state in state, 20.0, "an attach under way")
        system.kill_daemon()
    assert outcome
    system.start_daemon()
    found = system.admin.vf(vf.id)
    print(f"killed when {moment}: {found.state}, enrolled {found.enrolled}, {found.reason}")
    assert found.state in ("ready", "attached"), found
    assert (found.vm == vm) == (found.state == "attached")
    if found.state == "attached":
        eventually(lambda: system.admin.vf(vf.id).enrolled, 20.0, "an agent that enrols")
        system.admin.detach_vf(vf.id)
    assert system.admin.attach_vf(vf.id, vm=vm).enrolled
    system.program(vm, "once").checked()


def _steps(text: str) -> int:
    return max(int(line.split()[1]) for line in text.splitlines() if line.startswith("step "))
