from __future__ import annotations

import json
import socket

import pytest

from vaccel import errors
from vaccel.cli.main import COMMANDS, LazyGroup, run


@pytest.mark.parametrize("fault", sorted(errors.BY_CODE.values(), key=lambda cls: cls.__name__))
def test_every_error_ends_in_its_line_and_its_code(ctl, host, monkeypatch, fault):
    def fail():
        raise fault("thing 7 is\nwrong", hint="mend thing 7")

    monkeypatch.setattr(host, "vfs", fail)
    assert ctl("vf list").code == fault.exit_code
    assert (ctl.out, ctl.err) == ("", "vaccelctl: thing 7 is wrong\n  hint: mend thing 7\n")
    assert ctl("vf list --json").code == fault.exit_code
    assert json.loads(ctl.err) == {
        "error": {
            "code": fault.__name__,
            "message": "thing 7 is wrong",
            "hint": "mend thing 7",
            "exit_code": fault.exit_code,
        }
    }


def test_a_bug_is_told_in_one_line_too(ctl, host, monkeypatch):
    def fail():
        raise RuntimeError("boom")

    monkeypatch.setattr(host, "vfs", fail)
    assert ctl("vf list").code == 70
    assert ctl.err.startswith("vaccelctl: RuntimeError: boom\n  hint: this is a bug")
    monkeypatch.setenv("VACCELCTL_TRACEBACK", "1")
    assert "Traceback" in ctl("vf list").err


def test_ctrl_c(ctl, host, monkeypatch):
    def fail():
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "vfs", fail)
    assert ctl("vf list").code == 130
    assert "Traceback" not in ctl.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vff", "No such command 'vff'"),
        ("vf", "Usage: vaccelctl vf"),
        ("vf create", "Missing argument"),
        ("vf list --colour", "No such option: --colour"),
        ("vm start web-1 --cpus some", "--cpus"),
        ("vm start web-1 --memory lots", "--memory = 'lots' is not a size"),
    ],
)
def test_a_wrong_command_line(ctl, host, line, said):
    assert ctl(line).code == 2
    assert said in ctl.err
    assert ctl.out == ""
    assert host.calls == []


def test_no_daemon_says_how_to_start_one(tmp_path, capsys):
    address = f"unix:{tmp_path}/control.sock"
    assert run(["--address", address, "status"]) == 8
    said = capsys.readouterr().err
    assert f"vacceld is not running: nobody answers at {address} (No such file" in said
    assert "vacceld --config FILE" in said


def test_a_file_that_is_no_socket(tmp_path, capsys):
    (tmp_path / "control.sock").touch()
    assert run(["--address", f"unix:{tmp_path}/control.sock", "status"]) == 8
    assert "vacceld is not running" in capsys.readouterr().err


def test_a_socket_that_nobody_listens_on(tmp_path, capsys):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert run(["--address", f"unix:{path}", "status"]) == 8
    said = capsys.readouterr().err
    assert f"{path} (Connection refused)" in said
    assert "vacceld --config FILE" in said
    assert len(said.splitlines()) == 2


def test_the_list_of_commands_is_their_own_help():
    group = LazyGroup(name="vaccelctl")
    for name, line in COMMANDS.items():
        command = group.get_command(None, name)
        assert command.help.splitlines()[0] == line, name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(ctl, name):
    assert ctl(f"{name} --help").code == 0
    assert "Usage: vaccelctl" in ctl.out
