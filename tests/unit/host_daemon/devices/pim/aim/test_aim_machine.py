"""Programs over data: every instruction's effect, and a product as the fast path computes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from host_daemon.devices.pim.aim import arithmetic, isr, layout
from host_daemon.devices.pim.aim.activation import activate
from host_daemon.devices.pim.aim.arithmetic import rounded
from host_daemon.devices.pim.aim.gemv import Gemv, instructions
from host_daemon.devices.pim.aim.isr import Opcode
from host_daemon.devices.pim.aim.machine import FUNCTION_NAMES, Machine
from host_daemon.devices.pim.aim.trace import main
from vaccel import bounds
from vaccel.errors import InvalidArgument


def draw(seed: int, *shape: int) -> np.ndarray:
    return rounded(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def ran(machine: Machine, text: str, *written: Any) -> list[np.ndarray]:
    return machine.run(isr.read(text), written)


@pytest.mark.parametrize(
    ("outputs", "inputs", "channels", "function"),
    [(40, 100, 2, None), (70, 2100, 2, None), (16, 1024, 1, 0), (33, 20, 2, 1)],
)
def test_the_program_of_a_product_gives_the_bits_of_the_fast_path(
    outputs: int, inputs: int, channels: int, function: int | None
) -> None:
    """The host fills its registers before each instruction that reads them, as it must: the
    simulator's program names the same ones again and again.
    """
    gemv = Gemv(outputs, inputs, channels, function=function)
    weights, vector, bias = draw(1, outputs, inputs), draw(2, inputs), draw(3, outputs)
    machine = Machine(channels)
    machine.load(layout.to_banks(weights, channels))
    padded = np.zeros(gemv.chunks * 1024, np.float32)
    padded[:inputs] = vector
    start = np.zeros(gemv.passes * channels * 16, np.float32)
    start[:outputs] = bias
    found, chunk = [], 0
    for each in instructions(gemv):
        if each.opcode is Opcode.WR_BIAS:
            turn = len(found) * channels
            machine.registers[:channels] = start.reshape(-1, 16)[turn : turn + channels]
        if each.opcode is Opcode.WR_GB:
            first = chunk % gemv.chunks * 64
            machine.registers[:64] = padded.reshape(-1, 16)[first : first + 64]
            chunk += 1
        machine.run([each])
        if each.opcode in (Opcode.RD_MAC, Opcode.RD_AF):
            found.append(machine.registers[:channels].copy())
    result = np.array(found).reshape(-1)[:outputs]
    expected = arithmetic.gemv(weights.T, vector, bias)
    if function is not None:
        expected = activate(FUNCTION_NAMES[function], expected)
    assert np.array_equal(result, expected)


def test_registers_and_memory_keep_what_is_written() -> None:
    one, two, three = draw(1, 16), draw(2, 16), draw(3, 16)
    machine = Machine(2)
    read = ran(
        machine,
        "W GPR 0\nW GPR 1\nW MEM 1 3 9\nAiM WR_SBK 0 0x3 4 7\nAiM RD_SBK 8 0x3 4 7\n"
        "AiM WR_ABK 1 0x2 2\nR GPR 8\nR GPR 9\nR MEM 1 3 9\nR MEM 1 15 2\nR MEM 0 15 2\nR GPR 77",
        *(one, two, three),
    )
    zero = np.zeros(16, np.float32)
    expected = [one, two, three, two, zero, zero]
    assert [each.tolist() for each in read] == [each.tolist() for each in expected]
    (rough,) = ran(machine, "W GPR 5\nR GPR 5", np.full(16, 1 + 2.0**-12))
    assert rough.tolist() == [1.0] * 16  # bf16 is what it holds


def test_the_buffer_is_copied_from_a_bank_and_to_another() -> None:
    row, machine = draw(4, 1024), Machine(2)
    machine.row(1, 6, 3)[:] = row
    ran(machine, "AiM COPY_BKGB 5 0x2 6 3\nAiM COPY_GBBK 4 0x3 9 1")
    assert machine.buffer[1, :80].tolist() == row[:80].tolist()
    assert not machine.buffer[1, 80:].any() and not machine.buffer[0].any()
    assert machine.read(1, 9, 1, 64)[:64].tolist() == row[:64].tolist()
    assert not machine.read(1, 9, 1, 64)[64:].any()
    assert not machine.read(0, 9, 1, 64).any()


def _filled(seed: int) -> tuple[Machine, np.ndarray]:
    machine, rows = Machine(1), draw(seed, 16, 1024)
    machine.load(rows[None, :, None])
    machine.buffer[0] = draw(seed + 1, 1024)
    machine.sums[0] = draw(seed + 2, 16)
    return machine, rows


def test_single_banks_multiply_with_the_buffer_or_their_neighbour() -> None:
    machine, rows = _filled(5)
    before = machine.sums[0].copy()
    ran(machine, "W CFR 0 1\nAiM MAC_SBK 3 0x1 5 0\nW CFR 0 0\nAiM MAC_SBK 2 0x1 8 0")
    expected = before.copy()
    at = [5]
    expected[at] = arithmetic.accumulate(rows[at, :48].T, machine.buffer[0, :48], before[at])
    at = [8]
    expected[at] = arithmetic.accumulate(rows[at, :32].T, rows[9, :32], before[at])
    assert machine.sums[0].tolist() == expected.tolist()


def test_all_banks_multiply_with_the_buffer_or_pairs_of_them_with_one_another() -> None:
    for broadcast in (0, 1):
        machine, rows = _filled(9)
        before = machine.sums[0].copy()
        ran(machine, f"W CFR 0 {broadcast}\nAiM MAC_ABK 64 0x1 0")
        for bank in range(16):
            vector = machine.buffer[0] if broadcast else rows[(bank + 1) % 16]
            expected = arithmetic.accumulate(rows[[bank]].T, vector, before[[bank]])
            idle = not broadcast and bank % 2
            assert machine.sums[0, bank] == (before[bank] if idle else expected[0])


def test_banks_start_with_their_neighbours_vectors_as_the_simulator_does() -> None:
    one, other = _filled(9)[0], _filled(9)[0]
    ran(one, "AiM MAC_ABK 2 0x1 0")
    ran(other, "W CFR 0 0\nAiM MAC_ABK 2 0x1 0")
    assert one.sums.tolist() == other.sums.tolist()


def test_element_wise_products_go_into_the_third_bank_of_a_group() -> None:
    for groups in (0, 1):
        machine, rows = _filled(12)
        ran(machine, f"W CFR 1 {groups}\nAiM EWMUL 2 0x1 0")
        expected = rows.copy()
        for first in range(0, 16 if groups else 4, 4):
            expected[first + 2, :32] = arithmetic.multiply(
                rows[first, :32], rows[first + 1, :32]
            )
        assert all(np.array_equal(machine.read(0, b, 0, 64), expected[b]) for b in range(16))


@pytest.mark.parametrize("number", range(5))
def test_functions_are_taken_of_the_sums_as_they_are_read(number: int) -> None:
    machine = Machine(1)
    machine.sums[0] = draw(7, 16) * np.float32(3) + np.float32(2.0**-20)
    ran(machine, f"W CFR 2 {number}\nAiM AF 0x1\nAiM RD_AF 3 0x1\nAiM RD_MAC 4 0x1")
    sums = rounded(machine.sums[0])
    assert machine.registers[4].tolist() == sums.tolist()
    assert machine.registers[3].tolist() == activate(FUNCTION_NAMES[number], sums).tolist()


def test_registers_are_added_in_bf16() -> None:
    machine = Machine(1)
    left, right = draw(1, 2, 16), draw(2, 2, 16)
    read = ran(
        machine, "W GPR 0\nW GPR 1\nW GPR 4\nW GPR 5\nAiM EWADD 2 0 4\nR GPR 0\nR GPR 1\nR GPR 4",
        *left, *right,
    )
    exact = (left.astype(ml_dtypes.bfloat16) + right.astype(ml_dtypes.bfloat16)).astype(np.float32)
    assert np.array_equal(read[:2], exact) and np.array_equal(read[2], right[0])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("W GPR 0", r"instruction 1, W GPR: no data is left"),
        ("AiM SYNC\nAiM MAC_SBK 1 0x1 3 0", r"instruction 2, AiM MAC_SBK: bank = 3 has no vector"),
        ("W CFR 2 6\nAiM AF 0x1", r"instruction 2, AiM AF: W CFR 2: function = 6 has no table"),
        ("AiM RD_MAC 0 0x4", r"instruction 1, AiM RD_MAC: channel = 2 is not there: there are 2"),
        ("W MEM 2 0 0", r"channel = 2 is not there"),
        ("AiM WR_GB 64 16380 0x1", r"register = 16384 is not there"),
        ("AiM RD_MAC 16383 0x3", r"register = 16384 is not there"),
    ],
)
def test_what_a_machine_cannot_do_is_named(text: str, what: str) -> None:
    with pytest.raises(InvalidArgument, match=what):
        ran(Machine(2), text)


def test_data_of_another_width_and_too_many_rows_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidArgument, match=r"W MEM: data of shape \[15\] is not 16 numbers"):
        ran(Machine(1), "W MEM 0 0 0", np.zeros(15))
    monkeypatch.setattr(bounds, "PIM_MACHINE_ROWS", 15)
    with pytest.raises(InvalidArgument, match="instruction 1, AiM WR_ABK: more than 15 rows"):
        ran(Machine(1), "AiM WR_ABK 0 0x1 0")


PROGRAM = """# 2 x 3 by the first two banks, tanh of it
W GPR 0
W GPR 1
AiM WR_GB 1 0 0x1
AiM COPY_GBBK 1 0x1 0 0
W GPR 0
AiM WR_GB 1 0 0x1
AiM COPY_GBBK 1 0x1 1 0
AiM WR_GB 1 1 0x1
W CFR 0 1
AiM WR_BIAS 7 0x1
AiM MAC_ABK 1 0x1 0
W CFR 2 3
AiM AF 0x1
AiM RD_AF 2 0x1
AiM RD_MAC 3 0x1
R GPR 2
R GPR 3
AiM EOC
"""


def test_the_command_runs_a_program_over_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(*values: float) -> str:
        return " ".join(map(str, (*values, *[0] * (16 - len(values))))) + "\n"

    (tmp_path / "program").write_text(PROGRAM)
    data = "# weights, vector, weights\n" + line(1, 2, 3) + line(4, -5, 0.5) + line(-1, 0, 2)
    (tmp_path / "data").write_text(data)
    command = ["results", str(tmp_path / "program"), "--data", str(tmp_path / "data")]
    assert main(command) == 0
    rest = " 0" * 14
    assert capsys.readouterr().out == f"R GPR 2: 0 0{rest}\nR GPR 3: -4.5 -3{rest}\n"
    for text, what in (
        ("1 2 3", "data, line 1: 3 numbers, not 16"),
        ("\nx", "data, line 2: 'x' is not numbers"),
        (line(1), "instruction 2, W GPR: no data is left for it"),
    ):
        (tmp_path / "data").write_text(text)
        assert main(command) == 2
        assert what in capsys.readouterr().err
    assert main([*command[:3], str(tmp_path / "none")]) != 0
    assert "data " in capsys.readouterr().err
