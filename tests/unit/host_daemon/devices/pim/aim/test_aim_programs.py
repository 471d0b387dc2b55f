"""AiM's instructions as text, and what is wrong with some of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_daemon.devices.pim.aim import isr
from host_daemon.devices.pim.aim.commands import ON_ONE, Command
from host_daemon.devices.pim.aim.gemv import Gemv, instructions
from host_daemon.devices.pim.aim.isr import FIELDS, Instruction, Opcode
from host_daemon.devices.pim.aim.oracles import SIMULATED
from host_daemon.devices.pim.aim.program import execute
from host_daemon.devices.pim.aim.trace import main
from host_daemon.devices.validate import DEFAULT
from vaccel import bounds
from vaccel.errors import InvalidArgument

TRACE = (DEFAULT / "pim" / "aim_isr_trace_example_gemv_1024x2048.txt").read_text()


def test_the_exported_program_is_the_given_trace() -> None:
    assert isr.write(instructions(Gemv(1024, 2048, 32))) == TRACE


def test_a_trace_comes_back() -> None:
    assert isr.read(TRACE) == instructions(Gemv(1024, 2048, 32))
    every = [Instruction(each, size=3, mask=0x8, channel=3, bank=2, row=9) for each in Opcode]
    kept = [each for each in every if "size" in FIELDS[each.opcode]]
    assert isr.read(isr.write(kept)) == [
        Instruction(
            each.opcode, **{name: getattr(each, name) for name in FIELDS[each.opcode]}
        )
        for each in kept
    ]
    assert isr.read("# a remark\n\n  AiM EOC \n") == [Instruction(Opcode.EOC)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("AiM MAC_ALL 1", r"line 1: 'AiM MAC_ALL' is no instruction"),
        ("AiM EOC\nhello", r"line 2: 'hello' is no instruction"),
        ("AiM MAC_ABK 64 0xffffffff", r"line 1: AiM MAC_ABK has 2 fields, not 3.*size, mask, row"),
        ("AiM MAC_ABK 65 0x1 0", r"line 1.*size = 65 is not from 1 to 64"),
        ("AiM MAC_ABK 0 0x1 0", r"size = 0 is not from 1 to 64"),
        ("AiM MAC_ABK 1 0x0 0", r"mask = 0 is not from 1"),
        ("AiM MAC_ABK 1 0x1ffffffff 0", r"mask = 8589934591"),
        ("AiM MAC_ABK 1 0x1 16384", r"row = 16384 is not from 0 to 16383"),
        ("AiM MAC_SBK 1 0x1 16 0", r"bank = 16"),
        ("AiM RD_MAC -1 0x1", r"register = -1"),
        ("AiM RD_MAC zero 0x1", r"register = 'zero' is not a number"),
        ("AiM RD_MAC " + "9" * 5000 + " 0x1", r"is not a number"),
        ("AiM WR_ABK 0 0x3 5", r"line 1: instruction AiM WR_ABK: mask = 0x3 names more than one"),
        ("W MEM 32 0 0", r"line 1: instruction W MEM: channel = 32 is not from 0 to 31"),
        ("R MEM 0 16 0", r"bank = 16"),
        ("W CFR 3 0", r"register 3 does not take 0"),
        ("W CFR 0 2", r"register 0 does not take 2"),
    ],
)
def test_what_is_wrong_is_named(text: str, what: str) -> None:
    with pytest.raises(InvalidArgument, match=what):
        isr.read(text)


def test_a_trace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PIM_TRACE_INSTRUCTIONS", 3)
    with pytest.raises(InvalidArgument, match="line 4: more than 3"):
        isr.read("AiM SYNC\n" * 4)


def test_a_program_that_does_not_fit_the_card_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"instruction 1.*mask = 0x100 .*there are 8"):
        execute(isr.read("AiM RD_MAC 0 0x100\nAiM EOC"), SIMULATED, 8)
    with pytest.raises(InvalidArgument, match="EOC before the end"):
        execute(isr.read("AiM EOC\nAiM EOC"), SIMULATED, 8)
    for text in ("", "AiM RD_MAC 0 0x1"):
        with pytest.raises(InvalidArgument, match="does not end with EOC"):
            execute(isr.read(text), SIMULATED, 8)
    with pytest.raises(InvalidArgument, match=r"instruction 1.*channel = 8 names.*there are 8"):
        execute(isr.read("R MEM 8 0 0\nAiM EOC"), SIMULATED, 8)
    with pytest.raises(InvalidArgument, match=r"instruction 1, AiM MAC_SBK: bank = 3 has no vec"):
        execute(isr.read("AiM MAC_SBK 1 0x1 3 0\nAiM EOC"), SIMULATED, 8)


def test_channels_wait_for_what_the_host_waits_for() -> None:
    """Channel 1 gets its work only when channel 0 has answered, as the host sends in order."""
    text = "AiM WR_BIAS 0 0x1\nAiM RD_MAC 0 0x1\nAiM WR_BIAS 0 0x2\nAiM EOC"
    done = execute(isr.read(text), SIMULATED, 2)
    read = [each.cycle for each in done.commands(0) if each.command is Command.READ_MAC]
    first = next(done.commands(1))
    assert first.command is Command.MODE
    assert first.cycle == read[0] + SIMULATED.latencies[Command.READ_MAC] + 1


def test_every_instruction_runs() -> None:
    text = (
        "W CFR 0 1\nW CFR 2 3\nW GPR 0\nAiM WR_ABK 0 0x1 5\nAiM WR_ABK 0 0x2 5\n"
        "AiM WR_BIAS 0 0x3\nAiM WR_GB 4 0 0x3\nAiM MAC_ABK 4 0x3 5\nAiM AF 0x3\nAiM RD_AF 0 0x3\n"
        "AiM EWMUL 2 0x3 6\nAiM EWADD 1 0 1\nAiM WR_SBK 0 0x3 4 7\nAiM SYNC\nAiM RD_SBK 0 0x3 4 7\n"
        "AiM COPY_BKGB 2 0x3 4 7\nAiM MAC_SBK 2 0x3 5 8\nAiM COPY_GBBK 2 0x3 5 8\n"
        "W CFR 0 0\nAiM MAC_ABK 1 0x3 8\nAiM RD_MAC 0 0x3\nW MEM 0 1 1\nW MEM 1 1 1\nAiM SYNC\n"
        "R MEM 0 1 1\nR MEM 1 1 1\nAiM SYNC\nR GPR 0\nAiM EOC"
    )
    program = isr.read(text)
    assert {each.opcode for each in program} == set(Opcode)
    done = execute(program, SIMULATED, 2)
    commands = [each.command for each in done.commands(0)]
    assert set(commands) == {each.command for each in done.commands(1)} == set(Command)
    # The table of a function has a row of its own: the open one is closed for it.
    at = commands.index(Command.AF)
    assert commands[at - 2 : at] == [Command.PRECHARGE, Command.ACTIVATE]
    assert {each.bank for each in done.commands(0) if each.command in ON_ONE} == {1, 4, 5}
    assert {each.bank for each in done.commands(0) if each.command not in ON_ONE} == {-1}


def test_channels_with_other_instructions_are_told_apart() -> None:
    text = "AiM WR_BIAS 0 0x7\nAiM MAC_ABK 2 0x5 0\nAiM MAC_ABK 3 0x2 0\nAiM RD_MAC 0 0x7\nAiM EOC"
    done = execute(isr.read(text), SIMULATED, 4)
    macs = [
        sum(each.command is Command.MAC for each in done.commands(channel)) for channel in range(4)
    ]
    assert macs == [2, 3, 2, 0]


def test_the_command_exports_and_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gemv", "1024", "2048"]) == 0
    text = capsys.readouterr().out
    assert text == TRACE
    (tmp_path / "trace").write_text(text)
    assert main(["run", str(tmp_path / "trace"), "--show", "31"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == ["cycle,channel,command,bank", "1,31,TMOD,"]
    assert lines[-1] == "1636,31,RDMAC16,"
    assert err.startswith("1641 cycles of 0.5 ns; ACT16=4 MAC16=256 PREA=3 RDMAC16=2")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["run", "/no/such/file"], "cannot be read"),
        (["run", "-", "--channels", "33"], "1 to 32 channels"),
        (["run", "-", "--show", "32"], "channel 32 of 32"),
        (["gemv", "0", "5"], "outputs = 0"),
        (["gemv", "1000000000", "300"], "takes 7812500 instructions, a program has at most"),
        (["results", "/no/such/file"], "program /no/such/file cannot be read"),
        (["gemv", "5", "5", "--channels", "33"], "mask"),
    ],
)
def test_the_command_names_what_is_wrong(
    arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) != 0
    assert what in capsys.readouterr().err


def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert main(["run", str(tmp_path / "binary")]) == 2
    assert "not UTF-8" in capsys.readouterr().err
