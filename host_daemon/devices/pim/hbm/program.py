"""Programs of the command register file: checked, explained, and those of the kernels.

``python -m host_daemon.devices.pim.hbm.program gemv 2`` prints one, ``... program lstm HIDDEN
INPUTS`` those of a step of an LSTM on one channel, with what the host does between them; ``...
program check FILE`` checks and explains one of your own, a word a line.
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
from host_daemon.devices.pim.hbm.layout import lstm_size
from vaccel.errors import HostFault, InvalidArgument, VaccelError

Program = tuple[Instruction, ...]
# Bursts of one pass over a program: far beyond any memory, so that only a mistake exceeds it.
MOST_BURSTS: Final = 1 << 28
# Characters of a program's text: each of 32 lines has a comment.
_BYTES: Final = 1 << 14
# Characters of an instruction, before what is said of it.
_WIDTH: Final = 42
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
    raise InvalidArgument(
        f"{len(program)} instructions, no EXIT among them", hint="end the program with EXIT"
    )


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
        shown = text(each)
        note = f" {note}" if note and len(shown) >= _WIDTH else note
        lines.append(f"{index:>2}  {encode(each):#010x}  {shown:<{_WIDTH}}{note}".rstrip())
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


def gemv_tree(tiles: int) -> Program:
    """One round of GEMV whose sums leave after each tile, and are cleared by a row of zeros."""
    clear = Instruction("MUL", "GRF_B", "GRF_B", "EVEN_BANK", auto=True)
    halves = [(*_multiply_accumulate(bank, 1), _STORE, clear) for bank in ("EVEN_BANK", "ODD_BANK")]
    pair = (*halves[0], *halves[1])
    if tiles == 1:
        return (*halves[0], _EXIT)
    pairs = _looped(pair, tiles // 2)
    return (*pairs[:-1], *(halves[0] if tiles % 2 else ()), _EXIT)


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


def cell(tiles: int) -> Program:
    """The cell of an LSTM, a * b + c * d: a product of two operands, and a multiply-add of two
    others, each rounded twice.
    """
    body: list[Instruction] = []
    for grf, other, bank in (("GRF_A", "GRF_B", "EVEN_BANK"), ("GRF_B", "GRF_A", "ODD_BANK")):
        body.append(Instruction("FILL", grf, bank))
        body.append(Instruction("MUL", grf, grf, bank, auto=True))
        body.append(Instruction("FILL", other, bank))
        body.append(Instruction("MAD", grf, other, bank, grf, auto=True))
        body.append(_STORE)
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
    "gemv_tree": gemv_tree,
    "add": lambda tiles: binary("ADD", tiles),
    "mul": lambda tiles: binary("MUL", tiles),
    "mad": fused,
    "cell": cell,
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


def lstm(hidden: int, inputs: int) -> str:
    """A step of an LSTM on one channel: its programs, and between them the host's part."""
    tiles, rounds, states = lstm_size(inputs, hidden, 1)
    return "\n".join(
        (
            f"# gemv, {rounds} rounds: all gates of [x, h]",
            explain(gemv(tiles)),
            "# host: adds 16 lanes and biases, sigmoid and tanh in float32, writes f, i, g and o",
            "# cell: c = f * c + i * g",
            explain(cell(states)),
            "# host: reads c, tanh in float32, writes it",
            "# mul: h = o * tanh(c)",
            explain(binary("MUL", states)),
            "# host: reads h, which goes into GRF_A with the next x",
        )
    )


def _printed(arguments: Sequence[str]) -> str | None:
    """What is asked for; None where it is nothing that there is."""
    match arguments:
        case ["check", name]:
            return _check(name)
        case ["lstm", hidden, inputs] if hidden.isdigit() and inputs.isdigit():
            return lstm(max(1, _count(hidden)), max(1, _count(inputs)))
        case [name, tiles] if name in KERNELS and tiles.isdigit():
            return explain(KERNELS[name](max(1, _count(tiles))))
    return None


def _count(text_of: str) -> int:
    if len(text_of) > 18:
        raise InvalidArgument(f"{text_of[:40]} is more than any bank holds")
    return int(text_of)


def main(arguments: Sequence[str]) -> int:
    """``KERNEL TILES``: print a kernel's program. ``lstm HIDDEN INPUTS``: those of a step.
    ``check FILE``: check that of a file.
    """
    try:
        found = _printed(arguments)
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if found is None:
        print(f"usage: program {'|'.join(KERNELS)} TILES", file=sys.stderr)
        print("       program lstm HIDDEN INPUTS", file=sys.stderr)
        print("       program check FILE", file=sys.stderr)
        return 2
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
