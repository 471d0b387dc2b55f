"""Apps in a guest that drive their VF by shared memory: the worker is killed, the VF taken away."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from tests.e2e.system import System, eventually
from vaccel.bench import plug
from vaccel.inventory import VF

pytestmark = pytest.mark.vm

# From when an app hears of it until it has its next result.
RECOVERY_SECONDS = 1.0
# As many as fit into a test that everybody runs; ``vaccelctl bench plug`` does 200.
PLUG_CYCLES = int(os.environ.get("VACCELD_TEST_PLUG_CYCLES", "10"))
# What a killed app held is back by then.
FREED_SECONDS = 1.0


def held(system: System, vf: VF) -> tuple[int, int]:
    """Contexts and queue pairs."""
    usage = system.admin.vf(vf.id).usage
    return usage.contexts, usage.queues


def test_a_worker_that_is_killed_under_an_app(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "aperture_loop", vf.id)
    app.await_line("step 3", 60)
    plugged = system.shell(vm, "ls -id /sys/bus/pci/devices/*")
    for rounds in (1, 2):
        before = system.admin.vf(vf.id)
        os.kill(before.worker_pid, signal.SIGKILL)
        began = time.monotonic()
        back = lambda rounds=rounds: len(re.findall("^back", app.text(), re.M)) >= rounds  # noqa: E731
        eventually(back, 30.0, "a result")
        print(f"a result after less than {time.monotonic() - began:.2f} s")
        now = system.admin.vf(vf.id)
        assert (now.state, now.epoch) == ("attached", before.epoch + 1)
    # The function is the one that it was: it was never plugged anew.
    assert system.shell(vm, "ls -id /sys/bus/pci/devices/*") == plugged
    text = app.text()
    found = [float(one) for one in re.findall(r"^back after ([0-9.]+) s over aperture", text, re.M)]
    assert len(found) == 2, text
    print(f"the app waited {found} s")
    assert min(found) < RECOVERY_SECONDS  # the other one may have met a busy machine
    steps = max(int(one) for one in re.findall(r"^step (\d+)", text, re.M))
    app.await_line(f"step {steps + 3}$", 60)
    app.kill()
    spent = eventually(lambda: held(system, vf) == (0, 0), FREED_SECONDS, "no queue pair left")
    print(f"freed {spent * 1000:.0f} ms after the kill was answered")


@pytest.mark.parametrize("force", [False, True])
def test_a_vf_that_is_detached_under_an_app(
    system: System, vm: str, vf: VF, force: bool
) -> None:
    app = system.app(vm, "aperture_loop", vf.id)
    app.await_line("step 2", 60)
    began = time.monotonic()
    assert system.admin.detach_vf(vf.id, force=force).state == "ready"
    print(f"detached in {time.monotonic() - began:.2f} s")
    assert app.end() == 0, app.text()
    assert re.search("^detached .*taken away", app.text(), re.M), app.text()
    again = system.attached("shared", vm)
    assert again.enrolled
    system.program(vm, "once").checked()


def test_an_app_that_forks_is_seen_to_let_go_and_to_die(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "forking", vf.id)
    assert app.await_line("child ").split()[2:] == ["0", "{5}", "WrongState"]
    app.await_line("step 2", 60)
    began = time.monotonic()
    assert system.admin.detach_vf(vf.id).state == "ready"
    print(f"detached in {time.monotonic() - began:.2f} s")
    assert app.end() == 0, app.text()
    assert re.search("^detached .*taken away", app.text(), re.M), app.text()

    again = system.attached("shared", vm)
    app = system.app(vm, "forking", again.id)
    child = int(app.await_line("child ").split()[1])
    app.await_line("step 2", 60)
    assert held(system, again) == (1, 1)
    app.kill()
    spent = eventually(lambda: held(system, again) == (0, 0), FREED_SECONDS, "no queue pair left")
    print(f"freed {spent * 1000:.0f} ms after the kill was answered")
    system.shell(vm, f"kill -9 {child}")  # it lives
    system.program(vm, "once").checked()


def test_an_app_that_does_not_let_go_is_ended(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "aperture_loop", vf.id)
    app.await_line("step 2", 60)
    system.shell(vm, f"kill -STOP {app.pid}")
    began = time.monotonic()
    assert system.admin.detach_vf(vf.id).state == "ready"
    print(f"detached in {time.monotonic() - began:.2f} s")
    assert app.end() == 128 + signal.SIGKILL
    assert system.attached("shared", vm).enrolled
    system.program(vm, "once").checked()


def test_an_agent_that_is_killed_under_an_app_lends_to_it_again(
    system: System, vm: str, vf: VF
) -> None:
    app = system.app(vm, "aperture_path", vf.id)
    app.await_line("step 2 aperture", 60)
    killed = system.agent(vm)
    system.shell(vm, f"kill -9 {killed}")
    began = time.monotonic()
    steps = len(re.findall("^step", app.text(), re.M))
    # On a busy host an agent takes some seconds to load, and who looks meanwhile holds it up.
    while not app.await_line(f"step {steps + 2} ", 120).endswith("aperture"):
        steps += 5
    assert system.agent(vm) != killed
    print(f"by shared memory again {time.monotonic() - began:.2f} s after the kill")
    now = system.admin.vf(vf.id)
    assert (now.epoch, now.usage.contexts) == (vf.epoch, 1)
    # And the window can be taken back from it: the agent that is there now knows that it has it.
    system.admin.detach_vf(vf.id)
    system.attached("shared", vm)
    assert app.end() == 0, app.text()
    assert re.search("^detached .*taken away", app.text(), re.M), app.text()


def test_daemon_worker_and_keeper_are_killed_together(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "aperture_path", vf.id)
    app.await_line("step 2 aperture", 60)
    keeper = system.keeper()
    system.kill_daemon()
    os.kill(keeper, signal.SIGKILL)
    os.kill(vf.worker_pid, signal.SIGKILL)
    system.start_daemon()
    # Nobody has the memory any more but QEMU: the function is plugged anew, under the same name.
    app.await_line("detached .*taken away", 60)
    eventually(lambda: system.admin.vf(vf.id).enrolled, 60.0, "an agent that enrols")
    assert app.end() == 0, app.text()
    now = system.admin.vf(vf.id)
    assert (now.state, now.vm, now.name) == ("attached", vf.vm, vf.name) and now.epoch > vf.epoch
    assert "again" in app.text()


@pytest.mark.timeout(120 + 6 * PLUG_CYCLES)
def test_a_vf_that_comes_and_goes_under_an_app(system: System, vm: str, vf: VF) -> None:
    qemu = system.vm(vm).pid
    system.admin.detach_vf(vf.id)
    found = plug.cycle(system.admin, vm, vf.id, PLUG_CYCLES, lambda _: None)
    print({name: f"{max(getattr(found, name)):.2f} s" for name in ("attach", "command", "detach")})
    assert system.vm(vm).pid == qemu
    assert system.attached("shared", vm).enrolled
    system.program(vm, "once").checked()


def test_four_vfs_of_one_guest_each_by_its_own_window(system: System, vm: str, vf: VF) -> None:
    vfs = [vf, *(system.attached(f"fast-{number}", vm) for number in range(3))]
    app = system.app(vm, "four_windows", *(one.id for one in vfs))
    app.await_line("ready", 60)
    os.kill(vfs[2].worker_pid, signal.SIGKILL)
    app.await_line("lost 2", 30)
    assert app.end() == 0, app.text()
    assert [system.admin.vf(one.id).epoch - one.epoch for one in vfs] == [0, 0, 1, 0]
    for other in vfs[1:]:
        system.admin.detach_vf(other.id)
        system.admin.destroy_vf(other.id)
