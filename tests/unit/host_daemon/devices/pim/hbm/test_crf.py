"""Instructions and programs: their bits, their text, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.devices.pim.hbm import program
from host_daemon.devices.pim.hbm.crf import Instruction, check, decode, encode, encode_all, text
from host_daemon.devices.pim.hbm.program import bursts, decode_all, explain
from host_daemon.devices.pim.hbm.sequencer import Sequencer
from vaccel.errors import InvalidArgument

MAC = Instruction("MAC", "GRF_B", "GRF_A", "EVEN_BANK", auto=True)
EXIT = Instruction("EXIT")


def jump(count: int, back: int) -> Instruction:
    return Instruction("JUMP", count=count, back=back)


# The words that PIMSimulator writes for the same instructions.
@pytest.mark.parametrize(
    ("instruction", "word", "shown"),
    [
        (MAC, 0x3B108000, "MAC GRF_B[0], GRF_A[0], EVEN_BANK, auto"),
        (jump(7, 2), 0xE0003802, "JUMP 7x [PC - 2]"),
        (Instruction("NOP", count=7), 0x00000007, "NOP 8x"),
        (EXIT, 0xF0000000, "EXIT"),
        (Instruction("FILL", "GRF_A", "EVEN_BANK", relu=True), 0x98801000, None),
        (Instruction("MAD", "GRF_A", "ODD_BANK", "SRF_M", "SRF_A", 1, 2, 3), 0x48F70123, None),
        (Instruction("MOV", "EVEN_BANK", "GRF_B", dst_number=0, src0_number=5), 0x85400050, None),
    ],
)
def test_bits_and_text(instruction: Instruction, word: int, shown: str | None) -> None:
    assert encode(instruction) == word
    assert decode(word) == instruction
    assert shown is None or text(instruction) == shown


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, (1 << 32) - 1))
def test_any_word_is_an_instruction_or_refused(word: int) -> None:
    try:
        instruction = decode(word)
    except InvalidArgument as error:
        assert "instruction 0" in str(error)
        return
    again = decode(encode(instruction))
    assert again == instruction
    assert text(instruction)


@pytest.mark.parametrize(
    ("instruction", "what"),
    [
        (Instruction("ROL"), "opcode 'ROL'"),
        (Instruction("MAC", "EVEN_BANK", "GRF_A", "GRF_B"), "dst = 'EVEN_BANK'"),
        (Instruction("ADD", "GRF_A", "SRF_M", "GRF_B"), "src0 = 'SRF_M'"),
        (Instruction("MUL", "GRF_A", "GRF_A", "SRF_A"), "src1 = 'SRF_A'"),
        (Instruction("MAD", "GRF_A", "GRF_A", "SRF_M", "SRF_M"), "src2 = 'SRF_M'"),
        (Instruction("ADD", "GRF_A", "EVEN_BANK", "ODD_BANK"), "both banks"),
        (Instruction("ADD", "GRF_A", "GRF_A", "GRF_B", dst_number=8), "dst register = 8"),
        (Instruction("MOV", "GRF_A", "GRF_B", src0_number=-1), "src0 register = -1"),
        (Instruction("NOP", count=2048), "count = 2048"),
        (jump(1 << 17, 2), "count = 131072"),
        (jump(1, 33), "back = 33"),
    ],
)
def test_what_no_block_can_run_names_field_and_value(instruction: Instruction, what: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(what)):
        check(instruction)


@pytest.mark.parametrize(
    ("given_program", "what"),
    [
        ((MAC,), "no EXIT"),
        ((), "no EXIT"),
        ((MAC, jump(7, 3), EXIT), "instruction 1, JUMP 7x [PC - 3]: it goes to -1"),
        ((MAC, jump(7, 0), EXIT), "it goes to 2"),
        ((jump(7, 1), EXIT), "never ends"),
        ((MAC, jump(2, 2), jump(2, 2), EXIT), "it goes to 1"),
        ((MAC, MAC, jump(2, 2), jump(2, 3), EXIT), "bursts"),
        ((MAC, jump(131071, 2), jump(131071, 3), EXIT), "at most 268435456"),
        ((MAC,) * 33, "the CRF holds 32"),
    ],
    ids=["endless", "empty", "before", "after", "itself", "jumps only", "nested", "long", "full"],
)
def test_programs_that_do_not_end_well(given_program: program.Program, what: str) -> None:
    if what == "bursts":
        assert bursts(given_program) == 8 + 3 * 8 + 2 * (3 * 8)
        return
    with pytest.raises(InvalidArgument, match=re.escape(what)):
        bursts(given_program)


def test_a_jump_into_another_loop_is_refused() -> None:
    crossing = (MAC, MAC, jump(2, 3), MAC, jump(2, 4), EXIT)
    with pytest.raises(InvalidArgument, match="into the loop from 0 to 2"):
        bursts(crossing)


def test_reserved_opcodes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"instruction 1: opcode 5 in 0x50000000"):
        decode_all((encode(MAC), 0x50000000))
    with pytest.raises(InvalidArgument, match="word = -1"):
        decode(-1)


@pytest.mark.parametrize("name", sorted(program.KERNELS))
@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_kernels_fit_and_come_back(name: str, tiles: int) -> None:
    of = program.KERNELS[name](tiles)
    assert decode_all(encode_all(of)) == of
    sequencer = Sequencer(of)
    for _ in range(bursts(of)):
        assert not sequencer.exited or sequencer.program[sequencer.counter].op == "JUMP"
        sequencer.burst()
    with pytest.raises(InvalidArgument, match="after the program exited"):
        sequencer.burst()


def test_loops_within_loops_run_as_often_as_counted() -> None:
    nested = (MAC, jump(2, 2), MAC, jump(3, 4), EXIT)
    sequencer = Sequencer(nested)
    for _ in range(bursts(nested)):
        sequencer.burst()
    with pytest.raises(InvalidArgument, match="exited"):
        sequencer.burst()


def test_a_program_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "program.txt"
    of = program.gemv(3)
    for text_of in (explain(of), "# mine\n\n" + "\n".join(f"{w:#x}" for w in encode_all(of))):
        file.write_text(text_of)
        assert program.main(["check", str(file)]) == 0
        assert capsys.readouterr().out == explain(of) + "\n"


@pytest.mark.parametrize(
    ("given_text", "what"),
    [
        ("0x3b108000\n0xe0003803\n0xf0000000", "instruction 1, JUMP 7x [PC - 3]: it goes to -1"),
        ("0x3b108000\n0xe0003802", "no EXIT"),
        ("0xe0003801\n0xf0000000", "never ends"),
        ("0x3b108f00\n0xf0000000", "instruction 0, MAC: dst register = 15"),
        ("0x50000000", "opcode 5 in 0x50000000 is reserved"),
        ("# mine\nMAC GRF_B", "line 2: 'MAC' is no word"),
        ("0x100000000", "line 1: '0x100000000' is no word"),
        ("", "no EXIT"),
        ("#" * 20000, "longer than"),
        ("\xff", "is not UTF-8"),
    ],
)
def test_a_bad_program_of_a_file_is_named(
    given_text: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "program.txt"
    file.write_bytes(given_text.encode("latin-1"))
    assert program.main(["check", str(file)]) != 0
    assert what in capsys.readouterr().err
    assert program.main(["check", str(tmp_path)]) != 0


def test_a_program_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["gemv", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.strip() == explain(program.gemv(2)).strip()
    assert "0x3b108000  MAC GRF_B[0], GRF_A[0], EVEN_BANK, auto   ; 8 bursts" in shown
    assert "136 bursts in all" in shown
    assert program.main(["gemv"]) == program.main(["sin", "2"]) == 2
    assert "lstm HIDDEN INPUTS" in capsys.readouterr().err


def test_the_programs_of_an_lstms_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["lstm", "512", "100"]) == 0
    shown = capsys.readouterr().out
    # 612 inputs are five tiles, 2,048 gates 32 rounds of one channel, 512 states a tile.
    assert shown.startswith("# gemv, 32 rounds")
    for of in (program.gemv(5), program.cell(1), program.binary("MUL", 1)):
        assert explain(of) in shown
    assert shown.count("# host:") == 3
    assert "MAD GRF_A[0], GRF_B[0], EVEN_BANK, GRF_A[0], auto ; 8 bursts" in shown
    assert program.main(["lstm", "512", "-1"]) == program.main(["lstm", "512"]) == 2
    assert program.main(["lstm", "9" * 30, "1"]) == 2
    assert "is more than any bank holds" in capsys.readouterr().err
