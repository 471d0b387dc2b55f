"""Who may do what in a guest: the window is root's, and a token is good once, for one VF."""

from __future__ import annotations

import json

import pytest

from tests.e2e.system import PROFILE, System, eventually
from vaccel.inventory import VF

pytestmark = pytest.mark.vm


def test_the_window_and_the_credentials_are_for_root_only(system: System, vm: str, vf: VF) -> None:
    folder = system.shell(
        vm, "for f in /sys/bus/pci/devices/*; do grep -q 0x1110 $f/device && echo $f; done; true"
    )
    assert folder and "\n" not in folder
    for place in (f"{folder}/resource2", f"{folder}/resource0"):
        assert system.shell(vm, f"stat -c %a {place}") == "600"
        for mode in ("rb", "r+b"):
            tried = system.run(vm, ["python3", "-c", f"open('{place}', '{mode}')"], user="app")
            assert "PermissionError" in tried.stderr
    for command in (
        f"echo 0 >{folder}/enable",
        f"echo 1 >{folder}/remove",
        "ls /var/lib/vaccel",
        f"cat /var/lib/vaccel/{vf.id}.*",
        f"kill {system.agent(vm)}",
        "rm /run/vaccel/agent.sock",
    ):
        tried = system.run(vm, ["sh", "-c", command], user="app")
        assert tried.code != 0, command
    kept = system.shell(vm, "stat -c '%a %U' /var/lib/vaccel /var/lib/vaccel/*")
    assert kept.splitlines() == ["700 root", "600 root"]


def test_a_token_is_good_once_for_one_vf_and_erased(system: System, vm: str, vf: VF) -> None:
    app = system.app(vm, "worker_loop", "/tmp/access-stop", vf.id)
    app.await_line("step 1")
    other = system.admin.create_vf(PROFILE, name="other")
    system.stop_agent(vm, "STOP")
    try:
        other = system.admin.attach_vf(other.id, vm=vm, wait=False)
        assert not other.enrolled
        _await_function(system, vm, 2)
        tried = json.loads(system.program(vm, "intruder", vf.id, other.id, user="root").checked())
    finally:
        system.stop_agent(vm, "CONT")
    assert tried["tokens"] == {vf.id: 0, other.id: 32}
    assert set(tried["outcomes"].values()) == {"Unauthenticated"}, tried["outcomes"]
    eventually(lambda: system.admin.vf(other.id).enrolled, 30.0, "the other VF's enrolment")
    used = json.loads(
        system.program(
            vm, "tokens", other.id, str(tried["epoch"]), tried["token"], user="root"
        ).checked()
    )
    assert used == {"tokens": {vf.id: 0, other.id: 0}, "answer": "Unauthenticated"}
    system.shell(vm, "touch /tmp/access-stop")
    assert app.end() == 0, app.text()
    system.admin.destroy_vf(other.id, force=True)


def _await_function(system: System, vm: str, count: int) -> None:
    script = f"until [ $(grep -l 0x1110 /sys/bus/pci/devices/*/device | wc -l) = {count} ]"
    system.shell(vm, f"{script}; do sleep 0.05; done", seconds=10)
