"""AiM's instructions, as the host writes them: text in, text out, checked.

The format is that of the public simulator's traces (arkhadem/aim_simulator, README): one
instruction a line, fields by position, channel masks in hexadecimal::

    W CFR 0 1
    AiM WR_GB 64 0 0xffffffff
    AiM MAC_ABK 64 0xffffffff 0
    AiM EOC
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vaccel import bounds
from vaccel.errors import InvalidArgument


class Opcode(StrEnum):
    """What the host can ask for."""

    W_CFR = "W CFR"
    W_GPR = "W GPR"
    R_GPR = "R GPR"
    W_MEM = "W MEM"
    R_MEM = "R MEM"
    WR_SBK = "AiM WR_SBK"
    WR_ABK = "AiM WR_ABK"
    WR_GB = "AiM WR_GB"
    WR_BIAS = "AiM WR_BIAS"
    RD_MAC = "AiM RD_MAC"
    RD_AF = "AiM RD_AF"
    RD_SBK = "AiM RD_SBK"
    COPY_BKGB = "AiM COPY_BKGB"
    COPY_GBBK = "AiM COPY_GBBK"
    MAC_SBK = "AiM MAC_SBK"
    MAC_ABK = "AiM MAC_ABK"
    AF = "AiM AF"
    EWMUL = "AiM EWMUL"
    EWADD = "AiM EWADD"
    SYNC = "AiM SYNC"
    EOC = "AiM EOC"


# Fields by position.
FIELDS: Final[Mapping[Opcode, tuple[str, ...]]] = {
    Opcode.W_CFR: ("register", "data"),
    Opcode.W_GPR: ("register",),
    Opcode.R_GPR: ("register",),
    Opcode.W_MEM: ("channel", "bank", "row"),
    Opcode.R_MEM: ("channel", "bank", "row"),
    Opcode.WR_SBK: ("register", "mask", "bank", "row"),
    Opcode.WR_ABK: ("register", "mask", "row"),
    Opcode.WR_GB: ("size", "register", "mask"),
    Opcode.WR_BIAS: ("register", "mask"),
    Opcode.RD_MAC: ("register", "mask"),
    Opcode.RD_AF: ("register", "mask"),
    Opcode.RD_SBK: ("register", "mask", "bank", "row"),
    Opcode.COPY_BKGB: ("size", "mask", "bank", "row"),
    Opcode.COPY_GBBK: ("size", "mask", "bank", "row"),
    Opcode.MAC_SBK: ("size", "mask", "bank", "row"),
    Opcode.MAC_ABK: ("size", "mask", "row"),
    Opcode.AF: ("mask",),
    Opcode.EWMUL: ("size", "mask", "row"),
    Opcode.EWADD: ("size", "register", "second"),
    Opcode.SYNC: (),
    Opcode.EOC: (),
}
# The host's registers, of 32 bytes each.
REGISTERS: Final = 1 << 14
# The smallest and the largest value of a field: the size is in columns of 32 bytes.
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "register": (0, REGISTERS - 1),
    "second": (0, REGISTERS - 1),
    "data": (0, (1 << 16) - 1),
    "mask": (1, (1 << 32) - 1),
    "channel": (0, 31),
    "bank": (0, 15),
    "row": (0, (1 << 14) - 1),
    "size": (1, 64),
}
# Configuration registers: where the vector of a MAC comes from (0: the neighbouring bank, 1: the
# global buffer), which groups of banks multiply element-wise (0: one, 1: all), and which activation
# function is taken. Their values at the start are the simulator's.
BROADCAST: Final = 0
GROUPS: Final = 1
FUNCTION: Final = 2
START: Final[Mapping[int, int]] = {BROADCAST: 0, GROUPS: 1, FUNCTION: 0}
_MOST: Final = {BROADCAST: 1, GROUPS: 1, FUNCTION: 7}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. Fields that its opcode does not have stay 0. Raises InvalidArgument."""

    opcode: Opcode
    size: int = 0
    register: int = 0
    second: int = 0
    data: int = 0
    mask: int = 0
    channel: int = 0
    bank: int = 0
    row: int = 0

    def __post_init__(self) -> None:
        for field in FIELDS[self.opcode]:
            value, (least, most) = getattr(self, field), _RANGES[field]
            if not least <= value <= most:
                raise InvalidArgument(
                    f"instruction {self.opcode}: {field} = {value} is not from {least} to {most}"
                )
        if self.opcode is Opcode.W_CFR:
            most = _MOST.get(self.register, -1)
            if self.data > most:
                raise InvalidArgument(
                    f"instruction W CFR: register {self.register} does not take {self.data}",
                    hint="0: broadcast (0, 1), 1: element-wise groups (0, 1), 2: function (0-7)",
                )
        if self.opcode is Opcode.WR_ABK and self.mask & (self.mask - 1):
            raise InvalidArgument(
                f"instruction {self.opcode}: mask = {self.mask:#x} names more than one channel",
                hint="all banks of a channel are written with one instruction a channel",
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels that it names, if any."""
        if "channel" in FIELDS[self.opcode]:
            return (self.channel,)
        return tuple(index for index in range(32) if self.mask >> index & 1)

    def __str__(self) -> str:
        values = (
            hex(self.mask) if field == "mask" else str(getattr(self, field))
            for field in FIELDS[self.opcode]
        )
        return " ".join((self.opcode, *values))


def write(program: Iterable[Instruction]) -> str:
    """A program as text, a line each."""
    return "".join(f"{each}\n" for each in program)


def read(text: str) -> list[Instruction]:
    """A program from text; blank lines and those that begin with # are skipped.

    Raises InvalidArgument naming line, field and value.
    """
    found: list[Instruction] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(found) == bounds.PIM_TRACE_INSTRUCTIONS:
            raise InvalidArgument(
                f"line {number}: more than {bounds.PIM_TRACE_INSTRUCTIONS} instructions"
            )
        found.append(_parse(words, number))
    return found


def _parse(words: list[str], number: int) -> Instruction:
    name = " ".join(words[:2])
    try:
        opcode = Opcode(name)
    except ValueError:
        raise InvalidArgument(
            f"line {number}: {name[:80]!r} is no instruction",
            hint=f"there are: {', '.join(Opcode)}",
        ) from None
    fields = FIELDS[opcode]
    if len(words) - 2 != len(fields):
        raise InvalidArgument(
            f"line {number}: {name} has {len(words) - 2} fields, not {len(fields)}",
            hint=f"fields: {', '.join(fields) or 'none'}",
        )
    values = {}
    for field, word in zip(fields, words[2:], strict=True):
        values[field] = _number(word, f"line {number}: {name}: {field}")
    try:
        return Instruction(opcode, **values)
    except InvalidArgument as error:
        raise InvalidArgument(f"line {number}: {error.message}", hint=error.hint) from error


def _number(word: str, where: str) -> int:
    try:
        if len(word) > 20 or not word.isascii():
            raise ValueError
        return int(word, 16 if word.startswith("0x") else 10)
    except ValueError:
        raise InvalidArgument(f"{where} = {word[:80]!r} is not a number") from None
