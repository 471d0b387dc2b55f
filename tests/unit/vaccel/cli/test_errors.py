from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys

import pytest

from vaccel import __version__, errors
from vaccel.cli import errors as errors_of_the_program
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


@pytest.mark.parametrize("module", ["typer", "vaccel.cli.vf"])
def test_ctrl_c_while_the_program_is_still_loading(module):
    code = f"""
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
sys.argv = ["vaccelctl", "vf", "list"]
from vaccel.cli.entry import main
main()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == errors_of_the_program.INTERRUPTED
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vff", "No such command 'vff'"),
        ("vf", "Usage: vaccelctl vf"),
        ("vf create", "Missing argument"),
        ("vf list --colour", "No such option: --colour"),
        ("vf lst", "Did you mean 'list'?"),
        ("vm start web-1 --cpus some", "--cpus = 'some' is not a whole number"),
        ("vm start web-1 --cpus -1", "--cpus = '-1' is less than 0"),
        ("bench plug --cycles 100001", "--cycles = '100001' is more than 100000"),
        ("demo --where mars", "--where = 'mars' is not one of 'vm', 'local'\n"),
        ("vm start web-1 --memory lots", "--memory = 'lots' is not a size"),
    ],
)
def test_a_wrong_command_line(ctl, host, line, said):
    assert ctl(line).code == 2
    assert said in ctl.err
    assert ctl.out == ""
    assert host.calls == []


def test_a_name_that_is_no_utf8_is_told_with_its_bytes(ctl, host, monkeypatch):
    monkeypatch.setattr(host, "vf", lambda name: name.encode())
    assert ctl("vf show \udcff\udcfe").code == 2
    assert ctl.err.startswith("vaccelctl: argument '\\xff\\xfe' is not UTF-8\n")


def test_a_full_disk_is_the_hosts_fault(ctl, host, monkeypatch):
    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(host, "vfs", fail)
    assert ctl("vf list").code == 10
    assert "the output cannot be written: No space left on device" in ctl.err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_the_caller_closed_is_not_missed(stream):
    code = f"""
import os, sys
sys.{stream} = None
from vaccel.cli import main
sys.argv = ["vaccelctl", "--address", "unix:/none", "version"]
main.main()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("words", [["--help"], ["ops", "--json"], ["version"]])
def test_a_reader_that_has_gone_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    code = "from vaccel.cli.entry import main; main()"
    command = [sys.executable, "-c", code, "--address", "unix:/none", *words]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    "address", ["", "nobody", "unix:relative", "unix:/" + "x" * 108, "1.2.3.4:70000"]
)
def test_what_is_no_address_is_refused_before_anything_is_asked(address, capsys):
    assert run(["--address", address, "status"]) == (2 if address else 8)
    assert f"address {address!r} is neither" in capsys.readouterr().err or not address


def test_the_version_without_a_daemon(ctl):
    assert ctl("--version").code == 0
    assert ctl.out == f"vaccelctl {__version__}\n"


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


def test_the_list_of_verbs_is_not_cut_short(ctl, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in COMMANDS:
        lines = ctl(f"{name} --help").out.splitlines()
        assert [line for line in lines[1:] if line.endswith("...")] == []


def commands():
    """Every command of every noun."""
    group = LazyGroup(name="vaccelctl")
    for name in COMMANDS:
        command = group.get_command(None, name)
        yield from (f"{name} {verb}" for verb in getattr(command, "commands", {}))
        if not hasattr(command, "commands"):
            yield name


@pytest.mark.parametrize("line", list(commands()))
def test_help_is_a_manual_page(ctl, line):
    assert ctl(f"{line} --help").code == 0
    usage, _, rest = ctl.out.partition("\n")
    assert usage.startswith(f"Usage: vaccelctl {line} [OPTIONS]")
    assert not set("{}<>") & set(usage)
    assert f"  Examples:\n    vaccelctl {line}" in rest
    assert "--json" in rest
    assert not re.search(r" <\w+>", rest)  # a type where a word should be
