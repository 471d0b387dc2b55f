from __future__ import annotations

import io
import json
import os
import sys

import pytest

from vaccel import bounds
from vaccel.cli import streams
from vaccel.inventory import Output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_start_passes_what_was_given(ctl, host, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ctl("vm start web-1 --image debian --memory 2G --cpus 2 --data models --tenant blue --no-wait")
    folder = str(tmp_path / "models")
    assert host.calls == [
        ("start_vm", ("web-1", "debian", 2 << 30, 2, folder, "blue", False)),
    ]
    assert ctl.out == "VM web-1 is starting: 2 CPUs, 2 GiB, tcg\n"
    assert "boot the guest" in ctl.err


def test_list_show_stop(ctl, host):
    assert "Start one: vaccelctl vm start NAME" in ctl("vm list").out
    ctl("vm start web-1")
    assert "web-1  running  debian  1     512 MiB  tcg" in ctl("vm list").out
    assert "memory       512 MiB" in ctl("vm show web-1").out
    assert json.loads(ctl("vm show vm-1 --json").out)["accelerator"] == "tcg"
    assert ctl("vm stop web-1 --force").out == "stopped VM web-1\n"
    assert host.calls[-1] == ("stop_vm", ("web-1", True))
    assert ctl("vm show web-1").code == 3


def test_exec_streams_and_exits_with_the_commands_code(ctl, host):
    host.output = [Output("stdout", b"one\n"), Output("stderr", b"two\n"), 3]
    ctl("vm exec web-1 --user app --timeout 5 -- ls -la --json")
    assert (ctl.code, ctl.out, ctl.err) == (3, "one\n", "two\n")
    assert host.calls == [("exec_vm", ("web-1", ("ls", "-la", "--json"), "app", 5))]


def test_a_signal_counts_as_in_a_shell(ctl, host):
    host.output = [-9]
    assert ctl("vm exec web-1 -- sleep 9").code == 137


def test_exec_as_json(ctl, host):
    host.output = [Output("stdout", b"on"), Output("stdout", b"e\xff"), 1]
    ctl("vm exec web-1 --json -- cat")
    assert ctl.code == 1
    assert json.loads(ctl.out) == {
        "vm": "web-1",
        "command": ["cat"],
        "stdout": "one\N{REPLACEMENT CHARACTER}",
        "stderr": "",
        "exit_code": 1,
    }


def test_output_that_ends_without_a_code_is_no_success(ctl, host):
    host.output = [Output("stdout", b"one\n")]
    assert ctl("vm exec web-1 -- ls").code == 8


def test_what_is_piped_in_becomes_stdin(ctl, host, monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin:
        os.write(writer, b"words")
        os.close(writer)
        monkeypatch.setattr(sys, "stdin", stdin)
        ctl("vm exec web-1 -- cat")
    assert host.written == b"words"


def test_no_stdin_where_it_is_a_device_or_not_wanted(ctl, host, monkeypatch):
    with open(os.devnull) as null:
        monkeypatch.setattr(sys, "stdin", null)
        ctl("vm exec web-1 -- cat")
    assert (ctl.code, host.written) == (0, b"")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"words")))
    ctl("vm exec web-1 --no-stdin -- cat")
    assert (ctl.code, host.written) == (0, b"")


def test_too_much_stdin_is_refused_before_the_daemon_is_asked(ctl, host, monkeypatch):
    much = io.BytesIO(bytes(bounds.EXEC_STDIN_BYTES + 1))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(much))
    assert ctl("vm exec web-1 -- cat").code == 5
    assert host.calls == []


def test_an_option_of_the_command_without_dashes_says_where_it_goes(ctl):
    assert ctl("vm exec web-1 ls -l").code == 2
    assert "vaccelctl vm exec NAME -- CMD" in ctl.err


def test_console(ctl, host):
    assert ctl("vm console web-1 --follow").out.startswith("Debian \x1b[2Jboots")
    assert host.calls == [("console", ("web-1", True))]
    assert json.loads(ctl("vm console web-1 --json").out)["console"].endswith("café\n")


def test_a_guest_cannot_steer_the_terminal(host, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    streams.write_console(host.console("web-1"))
    assert terminal.getvalue() == "Debian \N{REPLACEMENT CHARACTER}[2Jboots\ncafé\n"


@pytest.mark.parametrize("data", [b"caf\xc3", b"\xa9\n"])
def test_a_character_may_be_split(monkeypatch, data):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    streams.write_console([b"caf\xc3", b"\xa9\n"])
    assert terminal.getvalue() == "café\n"
