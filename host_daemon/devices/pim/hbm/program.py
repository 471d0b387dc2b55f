"""Programs of the command register file: checked, explained, and those of the kernels.

``python -m host_daemon.devices.pim.hbm.program gemv 2`` prints one; ``... program check FILE``
checks and explains one of your own, a word a line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from host_daemon.devices.pim.hbm.crf import (
    CRF_WORDS,
    REGISTER_COUNT,
    Instruction,
    check,
    decode,
    encode,
    jump_target,
    text,
)
from vaccel.errors import HostFault, InvalidArgument, VaccelError

Program = tuple[Instruction, ...]
# Bursts of one pass over a program: far beyond any memory, so that only a mistake exceeds it.
MOST_BURSTS: Final = 1 << 28
# Characters of a program's text: each of 32 lines has a comment.
_BYTES: Final = 1 << 14
_WORD: Final = re.compile(r"0x[0-9a-fA-F]{1,8}")
_EXIT: Final = Instruction("EXIT")
_STORE: Final = Instruction("NOP", count=REGISTER_COUNT - 1)


def bursts(program: Sequence[Instruction]) -> int:
    """Bursts that a program consumes before it exits.

    Raises InvalidArgument naming the instruction at fault: one that no block can run, a program
    that is too long or never exits, a jump out of it, a loop that consumes no burst and so never
    ends, loops that cross, or that run longer than ``MOST_BURSTS``.
    """
    if len(program) > CRF_WORDS:
        raise InvalidArgument(f"{len(program)} instructions, the CRF holds {CRF_WORDS}")
    spent = [0] * (len(program) + 1)  # bursts from the start, each loop as often as it runs
    loops: list[tuple[int, int]] = []
    for index, instruction in enumerate(program):
        check(instruction, index)
        if instruction.op == "EXIT":
            return spent[index]
        spent[index + 1] = spent[index] + instruction.repeats
        if instruction.op == "JUMP":
            spent[index + 1] += instruction.count * _body(program, index, spent, loops)
        if spent[index + 1] > MOST_BURSTS:
            raise InvalidArgument(
                f"instruction {index}, {text(instruction)}: the program runs for"
                f" {spent[index + 1]} bursts, at most {MOST_BURSTS}"
            )
    raise InvalidArgument("the program has no EXIT", hint="end it with EXIT")


def _body(
    program: Sequence[Instruction], index: int, spent: list[int], loops: list[tuple[int, int]]
) -> int:
    """Bursts of one turn of the loop that a jump closes."""
    jump = program[index]
    target = jump_target(index, jump)
    what = f"instruction {index}, {text(jump)}: it goes to {target}"
    if target < 0 or target > index:
        raise InvalidArgument(f"{what}, outside the program", hint=f"back = 2 to {index + 1}")
    body = spent[index] - spent[target]
    if body == 0:
        raise InvalidArgument(
            f"{what}, a loop without a burst never ends", hint="put an instruction into the loop"
        )
    for first, last in loops:
        if first < target <= last:
            raise InvalidArgument(f"{what}, into the loop from {first} to {last}")
    loops.append((target, index))
    return body


def decode_all(words: Sequence[int]) -> Program:
    """The program of CRF words, checked. Raises InvalidArgument as ``bursts`` does."""
    found = []
    for index, word in enumerate(words):
        found.append(decode(word, index))
        if found[-1].op == "EXIT":
            break
    bursts(found)
    return tuple(found)


def explain(program: Sequence[Instruction]) -> str:
    """A line each: index, word, instruction, and how many bursts it runs for."""
    lines = []
    for index, each in enumerate(program):
        note = f"; to {jump_target(index, each)}" if each.op == "JUMP" else ""
        note = f"; {each.repeats} bursts" if each.repeats > 1 else note
        lines.append(f"{index:>2}  {encode(each):#010x}  {text(each):<42}{note}".rstrip())
    return "\n".join([*lines, f"    {bursts(program)} bursts in all"])


def _looped(body: Program, times: int) -> Program:
    jump = (Instruction("JUMP", count=times - 1, back=len(body) + 1),) if times > 1 else ()
    return (*body, *jump, _EXIT)


def _multiply_accumulate(bank: str, tiles: int) -> Program:
    mac = Instruction("MAC", "GRF_B", "GRF_A", bank, auto=True)
    # An instruction runs for eight bursts, a tile is eight times that.
    return (mac, Instruction("JUMP", count=REGISTER_COUNT * tiles - 1, back=2))


def gemv(tiles: int) -> Program:
    """One round of GEMV: tiles of even index in even banks, then the others, then the store."""
    odd = _multiply_accumulate("ODD_BANK", tiles // 2) if tiles > 1 else ()
    return (*_multiply_accumulate("EVEN_BANK", -(-tiles // 2)), *odd, _STORE, _EXIT)


def binary(op: str, tiles: int) -> Program:
    """ADD or MUL of two operands: load one, combine with the other, store; even banks, then odd."""
    body: list[Instruction] = []
    for grf, bank in (("GRF_A", "EVEN_BANK"), ("GRF_B", "ODD_BANK")):
        body.append(Instruction("FILL", grf, bank))
        body.append(Instruction(op, grf, grf, bank, auto=True))
        body.append(_STORE)
    return _looped(tuple(body), tiles)


def fused(tiles: int) -> Program:
    """Multiply-add of three operands, a * b + c, rounded twice: FILL a, MUL b, ADD c."""
    body: list[Instruction] = []
    for grf, bank in (("GRF_A", "EVEN_BANK"), ("GRF_B", "ODD_BANK")):
        body.append(Instruction("FILL", grf, bank))
        body.append(Instruction("MUL", grf, grf, bank, auto=True))
        body.append(Instruction("ADD", grf, grf, bank, auto=True))
        body.append(_STORE)
    return _looped(tuple(body), tiles)


def relu(tiles: int) -> Program:
    """Load through the ReLU, store; even banks, then odd."""
    body: list[Instruction] = []
    for grf, bank in (("GRF_A", "EVEN_BANK"), ("GRF_B", "ODD_BANK")):
        body += [Instruction("FILL", grf, bank, relu=True), _STORE]
    return _looped(tuple(body), tiles)


def scale_shift(tiles: int) -> Program:
    """Batch normalisation: x * scale + shift, both scalars of a channel from the SRF."""
    body: list[Instruction] = []
    for grf, bank in (("GRF_A", "EVEN_BANK"), ("GRF_B", "ODD_BANK")):
        body.append(Instruction("MAD", grf, bank, "SRF_M", "SRF_A", auto=True))
        body.append(_STORE)
    return _looped(tuple(body), tiles)


KERNELS: Final = {
    "gemv": gemv,
    "add": lambda tiles: binary("ADD", tiles),
    "mul": lambda tiles: binary("MUL", tiles),
    "mad": fused,
    "relu": relu,
    "batchnorm": scale_shift,
}


def words(text_of: str) -> list[int]:
    """The words of a text: the first of each line, such as 0x3b108000, or the second where a line
    begins with its index, as ``explain`` writes them. Empty lines and those of ``#`` are left out.

    Raises InvalidArgument naming the line.
    """
    found = []
    for number, line in enumerate(text_of.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#") or parts[-2:] == ["in", "all"]:
            continue
        word = parts[1] if parts[0].isdigit() and len(parts) > 1 else parts[0]
        if not _WORD.fullmatch(word):
            raise InvalidArgument(
                f"line {number}: {word[:40]!r} is no word of a program",
                hint="32 bits in hexadecimal, such as 0x3b108000",
            )
        found.append(int(word, 16))
    return found


def _check(name: str) -> str:
    """Explains the program of a file. Raises HostFault, InvalidArgument."""
    try:
        with Path(name).open(encoding="utf-8") as file:
            given = file.read(_BYTES + 1)
    except OSError as error:
        raise HostFault(f"program {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"program {name} is not UTF-8: {error.reason}") from error
    if len(given) > _BYTES:
        raise InvalidArgument(f"program {name} is longer than {_BYTES} characters")
    return explain(decode_all(words(given)))


def main(arguments: Sequence[str]) -> int:
    """``KERNEL TILES``: print a kernel's program. ``check FILE``: check that of a file."""
    verb, value = arguments if len(arguments) == 2 else ("", "")
    if verb != "check" and (verb not in KERNELS or not value.isdigit()):
        print(f"usage: program {'|'.join(KERNELS)} TILES", file=sys.stderr)
        print("       program check FILE", file=sys.stderr)
        return 2
    try:
        print(_check(value) if verb == "check" else explain(KERNELS[verb](max(1, int(value)))))
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
