"""The nine instructions of a PIM block, 32 bits each, as the command register file holds them.

The format is that of S. Lee et al., ISCA 2021, table 3, with the codes of PIMSimulator::

    bits     31-28   27-25  24-22  21-19  18-16  15    12    11-8   7-4     3-0
    ADD MUL  opcode  dst    src0   src1          auto        dst #  src0 #  src1 #
    MAC MAD  opcode  dst    src0   src1   src2   auto        dst #  src0 #  src1 #
    MOV FILL opcode  dst    src0                       relu  dst #  src0 #
    NOP      opcode                                          10-0: repetitions beyond the first
    JUMP     opcode  27-11: how often                        10-0: how far back
    EXIT     opcode

``src2`` of MAD has the number of ``src1``. With ``auto``, and always with FILL, an instruction runs
for eight bursts in a row, and register numbers come from the column address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vaccel.errors import InvalidArgument

OPCODES: Final[Mapping[str, int]] = {
    "NOP": 0,
    "ADD": 1,
    "MUL": 2,
    "MAC": 3,
    "MAD": 4,
    "MOV": 8,
    "FILL": 9,
    "JUMP": 14,
    "EXIT": 15,
}
_BY_CODE: Final = {code: name for name, code in OPCODES.items()}
# By code. A_OUT and M_OUT are the latches behind the adders and the multipliers.
OPERANDS: Final = (
    "A_OUT",
    "M_OUT",
    "EVEN_BANK",
    "ODD_BANK",
    "GRF_A",
    "GRF_B",
    "SRF_M",
    "SRF_A",
)
NUMBERED: Final = frozenset({"GRF_A", "GRF_B", "SRF_M", "SRF_A"})
REGISTER_COUNT: Final = 8
CRF_WORDS: Final = 32
_MOST_NOP: Final = (1 << 11) - 1
_MOST_JUMPS: Final = (1 << 17) - 1
_ARITHMETIC: Final = ("ADD", "MUL", "MAC", "MAD")
_MOVES: Final = ("MOV", "FILL")
_GRF: Final = frozenset({"GRF_A", "GRF_B"})
_BANK: Final = frozenset({"EVEN_BANK", "ODD_BANK"})
# What a field of each instruction may name (ISCA 2021, table 2).
_ALLOWED: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    **{(op, "dst"): _GRF for op in _ARITHMETIC},
    **{(op, "src0"): _GRF | _BANK for op in _ARITHMETIC},
    ("ADD", "src1"): _GRF | _BANK | {"SRF_A"},
    ("MUL", "src1"): _GRF | _BANK | {"SRF_M"},
    ("MAC", "src1"): _GRF | _BANK | {"SRF_M"},
    ("MAD", "src1"): _GRF | _BANK | {"SRF_M"},
    ("MAD", "src2"): _GRF | {"SRF_A"},
    ("MOV", "dst"): _GRF | _BANK | {"SRF_M", "SRF_A"},
    ("MOV", "src0"): _GRF | _BANK,
    ("FILL", "dst"): _GRF,
    ("FILL", "src0"): _GRF | _BANK,
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. ``count`` is NOP's repetitions beyond the first, or how often JUMP jumps;
    ``back`` how far: a jump at index i goes to i - back + 1.
    """

    op: str
    dst: str = "A_OUT"
    src0: str = "A_OUT"
    src1: str = "A_OUT"
    src2: str = "A_OUT"
    dst_number: int = 0
    src0_number: int = 0
    src1_number: int = 0
    auto: bool = False
    relu: bool = False
    count: int = 0
    back: int = 0

    @property
    def repeats(self) -> int:
        """Bursts that it runs for; JUMP and EXIT take none."""
        if self.op in ("JUMP", "EXIT"):
            return 0
        if self.op == "NOP":
            return self.count + 1
        return REGISTER_COUNT if self.auto or self.op == "FILL" else 1

    @property
    def fields(self) -> tuple[str, ...]:
        """The operand fields that this instruction has."""
        if self.op == "MAD":
            return ("dst", "src0", "src1", "src2")
        if self.op in _ARITHMETIC:
            return ("dst", "src0", "src1")
        return ("dst", "src0") if self.op in _MOVES else ()


def _bounded(value: int, most: int, what: str) -> int:
    if not 0 <= value <= most:
        raise InvalidArgument(f"{what} = {value} is not from 0 to {most}")
    return value


def check(instruction: Instruction, index: int = 0) -> None:
    """Refuse what no block can run. Raises InvalidArgument naming index, field and value."""
    where = f"instruction {index}, {instruction.op}:"
    if instruction.op not in OPCODES:
        raise InvalidArgument(
            f"instruction {index}: opcode {instruction.op!r} is unknown",
            hint=f"one of {', '.join(OPCODES)}",
        )
    for field in instruction.fields:
        operand = getattr(instruction, field)
        allowed = _ALLOWED[(instruction.op, field)]
        if operand not in allowed:
            raise InvalidArgument(
                f"{where} {field} = {operand!r}", hint=f"one of {', '.join(sorted(allowed))}"
            )
    banks = {getattr(instruction, field) for field in instruction.fields} & _BANK
    if len(banks) > 1:
        raise InvalidArgument(f"{where} both banks in one instruction, a burst has one")
    for field in ("dst", "src0", "src1"):
        number = getattr(instruction, f"{field}_number")
        _bounded(number, REGISTER_COUNT - 1, f"{where} {field} register")
    if instruction.op == "NOP":
        _bounded(instruction.count, _MOST_NOP, f"{where} count")
    if instruction.op == "JUMP":
        _bounded(instruction.count, _MOST_JUMPS, f"{where} count")
        _bounded(instruction.back, CRF_WORDS, f"{where} back")


def encode(instruction: Instruction) -> int:
    """The 32 bits. Raises InvalidArgument as ``check`` does."""
    check(instruction)
    word = OPCODES[instruction.op] << 28
    if instruction.op == "NOP":
        return word | instruction.count
    if instruction.op == "JUMP":
        return word | instruction.count << 11 | instruction.back
    for field, place in (("dst", 25), ("src0", 22), ("src1", 19), ("src2", 16)):
        if field in instruction.fields:
            word |= OPERANDS.index(getattr(instruction, field)) << place
    if instruction.op in _ARITHMETIC:
        word |= instruction.auto << 15
        word |= instruction.src1_number
    if instruction.op in _MOVES:
        word |= instruction.relu << 12
    if instruction.fields:
        word |= instruction.dst_number << 8 | instruction.src0_number << 4
    return word


def decode(word: int, index: int = 0) -> Instruction:
    """The instruction of 32 bits. Raises InvalidArgument naming index, field and value."""
    _bounded(word, (1 << 32) - 1, f"instruction {index}: word")
    code = word >> 28
    if code not in _BY_CODE:
        raise InvalidArgument(
            f"instruction {index}: opcode {code} in {word:#010x} is reserved",
            hint=f"known: {', '.join(f'{code} {name}' for code, name in _BY_CODE.items())}",
        )
    op = _BY_CODE[code]
    if op == "EXIT":
        found = Instruction(op)
    elif op == "NOP":
        found = Instruction(op, count=word & _MOST_NOP)
    elif op == "JUMP":
        found = Instruction(op, count=word >> 11 & _MOST_JUMPS, back=word & _MOST_NOP)
    else:
        found = _operands(op, word)
    check(found, index)
    return found


def _operands(op: str, word: int) -> Instruction:
    arithmetic = op in _ARITHMETIC
    return Instruction(
        op,
        dst=OPERANDS[word >> 25 & 7],
        src0=OPERANDS[word >> 22 & 7],
        src1=OPERANDS[word >> 19 & 7] if arithmetic else "A_OUT",
        src2=OPERANDS[word >> 16 & 7] if op == "MAD" else "A_OUT",
        dst_number=word >> 8 & 15,
        src0_number=word >> 4 & 15,
        src1_number=word & 15 if arithmetic else 0,
        auto=bool(arithmetic and word >> 15 & 1),
        relu=bool(not arithmetic and word >> 12 & 1),
    )


def text(instruction: Instruction) -> str:
    """As an assembler would write it."""
    if instruction.op == "NOP":
        return f"NOP {instruction.count + 1}x"
    if instruction.op == "JUMP":
        return f"JUMP {instruction.count}x [PC - {instruction.back}]"
    if instruction.op == "EXIT":
        return "EXIT"
    numbers = {
        "dst": instruction.dst_number,
        "src0": instruction.src0_number,
        "src1": instruction.src1_number,
        "src2": instruction.src1_number,
    }
    parts = []
    for field in instruction.fields:
        operand = getattr(instruction, field)
        parts.append(f"{operand}[{numbers[field]}]" if operand in NUMBERED else operand)
    parts += ["auto"] if instruction.auto else []
    parts += ["relu"] if instruction.relu else []
    return f"{instruction.op} {', '.join(parts)}"


def jump_target(index: int, instruction: Instruction) -> int:
    """Where a jump at an index goes."""
    return index - instruction.back + 1


def encode_all(program: Sequence[Instruction]) -> tuple[int, ...]:
    """The words of a program."""
    return tuple(encode(each) for each in program)
