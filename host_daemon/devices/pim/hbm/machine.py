"""Runs a program burst by burst over banks, as the blocks of all channels would.

Slow and plain: every register is there, every burst runs one instruction. The fast path
(``fp16.gemv``) is tested against it, and it against a reference of integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from host_daemon.devices.pim.hbm import fp16
from host_daemon.devices.pim.hbm.crf import Instruction
from host_daemon.devices.pim.hbm.fp16 import Half
from host_daemon.devices.pim.hbm.kernels import BLOCKS, LANES
from host_daemon.devices.pim.hbm.program import decode_all
from host_daemon.devices.pim.hbm.sequencer import Sequencer
from host_daemon.devices.pim.hbm.timing import BANKS, COLUMNS
from host_daemon.devices.pim.hbm.transactions import (
    CRF_COLUMN,
    GRF_A_COLUMN,
    GRF_B_COLUMN,
    HAB_ROW,
    NO_MEMORY,
    REGISTER_ROW,
    REGISTERS,
    SB_ROW,
    SRF_COLUMN,
    Transaction,
)
from vaccel.errors import InvalidArgument

_PARITY = {"EVEN_BANK": 0, "ODD_BANK": 1}


class Machine:
    """``channels`` channels with ``rows`` rows of memory in each bank, all zero."""

    def __init__(self, channels: int, rows: int) -> None:
        self.memory: Half = np.zeros((channels, BANKS, rows * COLUMNS, LANES), np.float16)
        shape = (channels, BLOCKS, REGISTERS, LANES)
        self.grf: dict[str, Half] = {
            "GRF_A": np.zeros(shape, np.float16),
            "GRF_B": np.zeros(shape, np.float16),
        }
        self.srf: Half = np.zeros((channels, 2 * REGISTERS), np.float16)
        self.mode = "SB"
        self.zeroes = False  # whether HAB_PIM begins with GRF_B cleared
        self._crf: list[int] = []
        self._sequencer: Sequencer | None = None
        self._asked: set[int] = set()

    def run(
        self,
        transactions: Iterable[Transaction],
        words: Sequence[int],
        grf: Sequence[Half] = (),
        srf: Sequence[Half] = (),
    ) -> None:
        """Take every transaction. ``words`` go to the CRF; ``grf`` and ``srf`` are the bursts that
        the host writes there, in order, [16] for all channels or [channels, 16].

        Raises InvalidArgument naming the instruction, the bank or the burst at fault.
        """
        code, registers, scalars = iter(words), iter(grf), iter(srf)
        for each in transactions:
            if each.row == REGISTER_ROW and self.mode != "SB":
                if CRF_COLUMN <= each.column < GRF_A_COLUMN:
                    first = (each.column - CRF_COLUMN) * REGISTERS
                    self._crf[first:] = islice(code, REGISTERS)
                elif each.column == SRF_COLUMN:
                    self.srf[:] = next(scalars)
                elif each.column >= GRF_A_COLUMN:
                    self._write_grf(each.column, next(registers))
                else:
                    self._enter(each.enters)
            elif each.row & NO_MEMORY:
                self._toggle(each)
            elif self.mode == "HAB_PIM":
                self._burst(each)

    def _write_grf(self, column: int, data: Half) -> None:
        name, first = ("GRF_A", GRF_A_COLUMN)
        if column >= GRF_B_COLUMN:
            name, first = ("GRF_B", GRF_B_COLUMN)
        self.grf[name][:, :, column - first] = np.reshape(data, (-1, 1, LANES))

    def _enter(self, mode: str) -> None:
        self.mode = "HAB_PIM" if mode == "pim" else "HAB"
        if mode == "pim":
            self._sequencer = Sequencer(decode_all(self._crf))
            if self.zeroes:
                self.grf["GRF_B"][:] = 0

    def _toggle(self, each: Transaction) -> None:
        if each.row in (HAB_ROW, SB_ROW):
            self._asked.add(each.bank)
        if each.row == HAB_ROW and self._asked >= {0, 1, 8, 9}:
            self.mode, self._asked = "HAB", set()
        elif each.row == SB_ROW and self._asked >= {0, 1}:
            self.mode, self._asked = "SB", set()

    def _burst(self, each: Transaction) -> None:
        assert self._sequencer is not None
        _, instruction = self._sequencer.burst()[-1]
        address = each.row * COLUMNS + each.column
        if address >= self.memory.shape[2]:
            raise InvalidArgument(
                f"row {each.row} of bank {each.bank}: there are {self.memory.shape[2] // COLUMNS}"
            )
        if instruction.op == "NOP":
            if each.write:
                name = "GRF_B" if each.bank % 2 else "GRF_A"
                stored = self.grf[name][:, :, address % REGISTERS]
                self.memory[:, each.bank % 2 :: 2, address] = stored
            return
        self._write(instruction, each.bank, address, self._compute(instruction, each.bank, address))

    def _compute(self, instruction: Instruction, bank: int, address: int) -> Half:
        def read(field: str, number: int) -> Half:
            return self._read(getattr(instruction, field), number, instruction, bank, address)

        first = read("src0", instruction.src0_number)
        if instruction.op in ("MOV", "FILL"):
            return fp16.relu(first) if instruction.relu else first
        second = read("src1", instruction.src1_number)
        if instruction.op == "ADD":
            return fp16.add(first, second)
        product = fp16.multiply(first, second)
        if instruction.op == "MUL":
            return product
        if instruction.op == "MAC":
            return fp16.add(product, read("dst", instruction.dst_number))
        return fp16.add(product, read("src2", instruction.src1_number))

    def _number(self, name: str, number: int, instruction: Instruction, address: int) -> int:
        if not (instruction.auto or instruction.op == "FILL"):
            return number
        # A MAC takes its input by the higher bits of the column: one burst for eight accumulators.
        by_high = instruction.op == "MAC" and name == "GRF_A"
        return (address // REGISTERS if by_high else address) % REGISTERS

    def _read(
        self, name: str, number: int, instruction: Instruction, bank: int, address: int
    ) -> Half:
        if name in _PARITY:
            if _PARITY[name] != bank % 2:
                raise InvalidArgument(
                    f"{instruction.op} reads {name}, but its burst goes to bank {bank}",
                    hint="program and addresses disagree on the parity of banks",
                )
            return self.memory[:, bank % 2 :: 2, address]
        if name in self.grf:
            return self.grf[name][:, :, self._number(name, number, instruction, address)]
        scalar = self.srf[:, number + (REGISTERS if name == "SRF_A" else 0)]
        return scalar[:, None, None]

    def _write(self, instruction: Instruction, bank: int, address: int, value: Half) -> None:
        name = instruction.dst
        if name in self.grf:
            number = self._number(name, instruction.dst_number, instruction, address)
            self.grf[name][:, :, number] = value
        elif name in _PARITY:
            self.memory[:, _PARITY[name] :: 2, address] = value
        else:
            raise InvalidArgument(
                f"{instruction.op} writes {name}, which is one burst for all blocks",
                hint="the host writes the SRF",
            )
