"""VMs that cannot start, and commands in one that runs, through the daemon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.system import System
from vaccel.errors import InvalidArgument, NotFound, TimedOut, VaccelError

pytestmark = pytest.mark.vm


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"name": "one"}, InvalidArgument, ("'one'", "running")),
        ({"name": "Bad Name"}, InvalidArgument, ("'Bad Name'",)),
        ({"image": "nowhere"}, NotFound, ("nowhere",)),
        ({"data_dir": "/nowhere/at/all"}, InvalidArgument, ("/nowhere/at/all",)),
        ({"data_dir": "relative"}, InvalidArgument, ("'relative'",)),
        ({"memory_bytes": 1 << 20}, InvalidArgument, ("1048576",)),
        ({"cpus": 65}, InvalidArgument, ("65",)),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_vm_that_cannot_start(
    system: System,
    vm: str,
    changes: dict[str, object],
    kind: type[VaccelError],
    words: tuple[str, ...],
) -> None:
    before = list(system.admin.vms())
    begun = time.monotonic()
    with pytest.raises(VaccelError) as refused:
        system.admin.start_vm(**({"name": "fresh"} | changes))  # type: ignore[arg-type]
    assert type(refused.value) is kind, refused.value
    assert all(word in str(refused.value) for word in words), refused.value
    assert time.monotonic() - begun < 10.0  # no machine was started
    assert list(system.admin.vms()) == before


def test_a_data_folder_that_is_a_file(system: System, vm: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(InvalidArgument, match=str(file)):
        system.admin.start_vm("fresh", data_dir=str(file))


def test_a_command_has_a_code_and_both_streams(system: System, vm: str) -> None:
    done = system.run(vm, ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert system.run(vm, ["sh", "-c", "kill -9 $$"]).code == -9


def test_a_command_reads_its_input(system: System, vm: str) -> None:
    data = bytes(range(256)) * 1024
    done = system.run(vm, ["sha256sum"], stdin=data)
    import hashlib

    assert done.stdout.split()[0] == hashlib.sha256(data).hexdigest()


def test_a_command_runs_as_the_user_asked_for(system: System, vm: str) -> None:
    assert system.shell(vm, "id -un; pwd", user="app").splitlines()[0] == "app"
    assert system.shell(vm, "id -un") == "root"
    with pytest.raises(InvalidArgument, match="no user!"):
        system.run(vm, ["true"], user="no user!")
    unknown = system.run(vm, ["true"], user="nobody-here")
    assert unknown.code != 0 and "nobody-here" in unknown.stderr


def test_a_command_that_takes_too_long_is_ended(system: System, vm: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TimedOut, match="ended"):
        system.run(vm, ["sh", "-c", "echo $$ >/tmp/slow; exec sleep 1000"], seconds=1)
    assert time.monotonic() - begun < 20.0
    script = "while kill -0 $(cat /tmp/slow) 2>/dev/null; do sleep 0.05; done"
    system.shell(vm, script, seconds=10)


def test_a_command_that_is_not_there(system: System, vm: str) -> None:
    done = system.run(vm, ["no-such-program"])
    assert done.code == 127 and "no-such-program" in done.stderr


def test_a_vm_that_is_not_there(system: System, vm: str) -> None:
    with pytest.raises(NotFound, match="ghost"):
        system.run("ghost", ["true"])
    with pytest.raises(NotFound, match="ghost"):
        system.admin.stop_vm("ghost")
