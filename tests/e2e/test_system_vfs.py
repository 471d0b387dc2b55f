"""Several VFs in one VM, one of which moves to another VM."""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.system import PROFILE, System, eventually
from vaccel.inventory import VF

pytestmark = pytest.mark.vm


def test_several_vfs_and_a_move(system: System, vm: str, spare: str, vf: VF) -> None:
    others = [system.admin.create_vf(PROFILE, name=name) for name in ("second", "third")]
    for other in others:
        system.admin.attach_vf(other.id, vm=vm)
    ids = [vf.id, *(other.id for other in others)]
    assert sorted(system.vm(vm).vfs) == ["second", "shared", "third"]

    mark = os.urandom(16).hex()
    seen = json.loads(system.program(vm, "window", ids[2], mark, "write", user="root").checked())
    assert seen["found"]
    assert sorted(seen["devices"]) == sorted(ids)
    assert seen["unnamed"]["error"] == "InvalidArgument"
    assert all(one in seen["unnamed"]["message"] for one in ids)
    assert seen["unknown"]["error"] == "NotFound"

    apps = {one: system.app(vm, "worker_loop", "/tmp/vfs-stop", one) for one in ids[:2]}
    for app in apps.values():
        app.await_line("step 1")
    for one, number in zip(ids, (1, 1, 0), strict=True):
        assert system.admin.vf(one).usage.contexts == number
    moved = system.admin.detach_vf(ids[2])
    assert (moved.state, moved.vm) == ("ready", "")
    before = {one: _steps(app.text()) for one, app in apps.items()}
    for one, app in apps.items():
        app.await_line(f"step {before[one] + 2}$")
    assert sorted(system.vm(vm).vfs) == ["second", "shared"]

    epoch = moved.epoch
    moved = system.admin.attach_vf(ids[2], vm=spare)
    assert moved.epoch > epoch and moved.enrolled
    found = json.loads(system.program(spare, "window", ids[2], mark, "look", user="root").checked())
    assert not found["found"] and not found["buffer"]
    assert found["window"] == 0

    system.shell(vm, "touch /tmp/vfs-stop")
    for app in apps.values():
        assert app.end() == 0, app.text()
    for other in others:
        system.admin.destroy_vf(other.id, force=True)


def test_detach_under_a_running_app(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "worker_loop", "/tmp/never", vf.id)
    app.await_line("step 1")
    taken = system.admin.detach_vf(vf.id)
    assert (taken.state, taken.vm, taken.usage.contexts) == ("ready", "", 0)
    assert app.end(10) == 9, app.text()
    assert app.text().splitlines()[-2].startswith("failed Detached"), app.text()
    again = system.admin.attach_vf(vf.id, vm=vm)
    assert again.enrolled
    system.program(vm, "once").checked()


def test_a_guest_that_ejects_its_vf(system: System, vm: str, vf: VF) -> None:
    system.shell(
        vm,
        "d=$(dirname $(grep -l 0x1110 /sys/bus/pci/devices/*/device)); a=$(basename $d);"
        " for s in /sys/bus/pci/slots/*; do"
        " read -r x <$s/address; [ $x = ${a%.*} ] && echo 0 >$s/power; done; true",
    )
    eventually(lambda: system.admin.vf(vf.id).state == "ready", 20.0, "a VF that is ready")
    now = system.admin.vf(vf.id)
    assert (now.vm, now.enrolled) == ("", False) and now.epoch > vf.epoch
    assert system.admin.attach_vf(vf.id, vm=vm).enrolled


def test_an_app_that_dies_leaves_nothing(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "worker_loop", "/tmp/never")
    app.await_line("step 1")
    usage = system.admin.vf(vf.id).usage
    assert usage.contexts == usage.queues == 1 and usage.buffers > 0 and usage.programs == 1
    pid = app.pid
    system.shell(vm, f"kill -9 {pid}")
    spent = eventually(
        lambda: held(system, vf) == (0, 0), 1.0, "the end of the dead app's context and queue pair"
    )
    print(f"freed {spent * 1000:.0f} ms after the kill was answered")
    usage = system.admin.vf(vf.id).usage
    assert (usage.buffers, usage.programs, usage.memory_bytes) == (0, 0, 0)
    assert app.end() == 137


def held(system: System, vf: VF) -> tuple[int, int]:
    """Contexts and queue pairs."""
    usage = system.admin.vf(vf.id).usage
    return usage.contexts, usage.queues


def _steps(text: str) -> int:
    return max(int(line.split()[1]) for line in text.splitlines() if line.startswith("step "))
