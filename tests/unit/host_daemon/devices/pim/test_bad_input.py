"""What a card whose DRAM computes must pad, and what it must refuse by field and value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from host_daemon.core.device import ARITHMETIC, DeviceModel, Operation
from host_daemon.devices.pim.aim import isr
from host_daemon.devices.pim.aim import layout as aim_layout
from host_daemon.devices.pim.aim import oracles as aim_oracles
from host_daemon.devices.pim.aim import program as aim_program
from host_daemon.devices.pim.aim.oracles import SIMULATED
from host_daemon.devices.pim.hbm import layout, oracles, program, trace
from host_daemon.devices.pim.hbm.crf import Instruction, encode
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.registry import find_card, find_kind, load_card, model
from vaccel.errors import InvalidArgument
from vaccel.model import DType

CARDS = {"aquabolt-xl": "fp16", "aim": "bf16", "kcloud-2": "fp16"}


def device(name: str, place: int = 0) -> DeviceModel:
    card = load_card(find_card(name))
    return model(card, card.profiles[place])


def node(op: str, values: list[np.ndarray], arithmetic: str, **more: Any) -> Operation:
    specs = tuple((DType.FLOAT32, each.shape) for each in values)
    constant = frozenset(range(1, len(values)))
    return Operation(op, specs, (None,) * 3, {ARITHMETIC: arithmetic, **more}, constant)


def result(of: DeviceModel, given: Operation, values: list[np.ndarray]) -> np.ndarray | None:
    found = of.run(given, values)
    return None if found is None else np.asarray(found[0], np.float64)


# No multiples of 16 lanes, 128 or 1,024 inputs, 64 or 16 outputs a channel, or 2,048 elements.
ODD = [(1, 1), (17, 65), (129, 63), (1025, 16), (100, 2049), (1023, 511)]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("inputs", "outputs"), ODD)
def test_products_of_any_size_are_padded(card: str, inputs: int, outputs: int) -> None:
    draw = np.random.default_rng(1)
    values = [draw.standard_normal(s).astype(np.float32) for s in ((1, inputs), (inputs, outputs))]
    given = node("MatMul", values, CARDS[card])
    of = device(card)
    assert of.cost(given).critical_cycles > 0
    found = result(of, given, values)
    assert found is not None and found.shape == (1, outputs)
    sizes = np.abs(values[0]).astype(np.float64) @ np.abs(values[1])
    assert (np.abs(found - values[0].astype(np.float64) @ values[1]) <= 0.05 * sizes + 0.02).all()


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("count", [1, 2047, 2049, 100_003])
def test_vectors_of_any_size_are_padded(card: str, count: int) -> None:
    draw = np.random.default_rng(2)
    values = [draw.standard_normal(count).astype(np.float32) for _ in range(2)]
    given = node("Mul", values, CARDS[card])
    assert device(card).cost(given).critical_cycles > 0
    found = result(device(card), given, values)
    expected = values[0].astype(np.float64) * values[1]
    assert found is None or np.allclose(found, expected, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(1, 1, 1), (2, 17, 65), (1, 129, 3)])
def test_lstms_of_any_size_are_padded(card: str, batch: int, inputs: int, hidden: int) -> None:
    draw = np.random.default_rng(3)
    shapes = ((2, batch, inputs), (1, 4 * hidden, inputs), (1, 4 * hidden, hidden))
    values = [(draw.standard_normal(shape) / 8).astype(np.float32) for shape in shapes]
    given = node("LSTM", values, CARDS[card], hidden_size=hidden)
    assert device(card).cost(given).critical_cycles > 0
    found = result(device(card), given, values)
    assert found is None or found.shape == (2, 1, batch, hidden)


MAC = Instruction("MAC", "GRF_B", "GRF_A", "EVEN_BANK", auto=True)
EXIT = Instruction("EXIT")


def jump(back: int, count: int = 7) -> Instruction:
    return Instruction("JUMP", count=count, back=back)


def aim_row(**changed: str) -> dict[str, str]:
    return {"case": "own", "out_dim": "512", "in_dim": "1024", "channels": "32"} | changed


def hbm_row(**changed: str) -> dict[str, str]:
    row = {"channels": "1", "kernel": "GEMV", "mode": "pim", "refresh": "default_tREFI3900"}
    return row | {"out_dim": "64", "in_dim": "128"} | changed


def run_aim(text: str) -> object:
    return aim_program.execute(isr.read(text + "\nAiM EOC"), SIMULATED, 8)


def card_with(name: str, cores: int) -> object:
    table = tomllib.loads(find_card(name).read_text())
    table["profile"][0]["cores"]["value"] = cores
    return find_kind(table["kind"]).card(table, "a.toml")


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "jump before the program": (
        lambda: program.bursts((MAC, jump(9), EXIT)),
        "instruction 1, JUMP 7x [PC - 9]: it goes to -7, outside the program",
    ),
    "jump behind the program": (
        lambda: program.bursts((MAC, jump(0), EXIT)),
        "instruction 1, JUMP 7x [PC - 0]: it goes to 2, outside the program",
    ),
    "endless loop": (
        lambda: program.bursts((MAC, jump(1), EXIT)),
        "instruction 1, JUMP 7x [PC - 1]: it goes to 1, a loop without a burst never ends",
    ),
    "no end": (lambda: program.bursts((MAC, jump(2))), "2 instructions, no EXIT among them"),
    "a loop of years": (
        lambda: program.bursts((MAC, jump(2, 131071), jump(3, 131071), EXIT)),
        "instruction 2, JUMP 131071x [PC - 3]: the program runs for",
    ),
    "register": (
        lambda: program.decode_all((encode(MAC) | 9 << 8, encode(EXIT))),
        "instruction 0, MAC: dst register = 9 is not from 0 to 7",
    ),
    "operand": (
        lambda: program.bursts((Instruction("ADD", "EVEN_BANK", "GRF_A", "GRF_B"), EXIT)),
        "instruction 0, ADD: dst = 'EVEN_BANK'",
    ),
    "layout of weights": (
        lambda: layout.gemv_from_banks(np.zeros((2, 16, 64, 16), np.float16), 64, 600),
        "weights of 64 outputs and 600 inputs lie in banks of shape [2, 16, 192, 16], given is"
        " [2, 16, 64, 16]",
    ),
    "layout of vectors": (
        lambda: layout.vector_from_banks(np.zeros((2, 16, 64, 16), np.float16), 9),
        "a vector of 9 elements lie in banks of shape [2, 16, 8, 16], given is [2, 16, 64, 16]",
    ),
    "layout of AiM": (
        lambda: aim_layout.from_banks(np.zeros((2, 16, 4, 1024), np.float32), 64, 2000),
        "banks of float32[2, 16, 4, 1024] do not hold 64x2000 weights",
    ),
    "channels of a profile": (
        lambda: card_with("aquabolt-xl", 65),
        "65 of profile pim.4c.1.5g, but the card has 64",
    ),
    "channels of a profile of AiM": (lambda: card_with("aim", 33), " = 33"),
    "cores of a profile of kcloud-2": (lambda: card_with("kcloud-2", 9), " = 9"),
    "channels of a trace": (
        lambda: trace.rows("gemv", (64, 64), 4097, Timing()),
        "channels = 4097",
    ),
    "channels of a row": (
        lambda: oracles.pimsimulator(hbm_row(channels="4097")),
        "column channels = '4097' is more than 4096",
    ),
    "channels of a row of AiM": (
        lambda: aim_oracles.cycles(aim_row(channels="33")),
        "column channels = '33' is more than 32",
    ),
    "channels of a program": (
        lambda: run_aim("AiM RD_MAC 0 0x100"),
        "instruction 1, AiM RD_MAC: mask = 0x100 names channels that are not there: there are 8",
    ),
    "channel of an access": (
        lambda: run_aim("W MEM 9 0 0"),
        "instruction 1, W MEM: channel = 9 names channels that are not there: there are 8",
    ),
    "size of a row": (
        lambda: oracles.pimsimulator(hbm_row(in_dim="999999999999999999")),
        "column in_dim = '999999999999999999' is more than 549755813888",
    ),
    "size of a row of AiM": (
        lambda: aim_oracles.cycles(aim_row(in_dim="10000000000")),
        "columns out_dim = 512, in_dim = 10000000000: weights of 10240000000000 bytes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_named_by_field_and_value(case: str) -> None:
    attempt, message = REFUSED[case]
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        attempt()


@pytest.mark.parametrize("card", CARDS)
def test_the_state_of_another_card_is_refused_by_field_and_value(card: str) -> None:
    one = device(card)
    for other in CARDS:
        if other != card:
            with pytest.raises(InvalidArgument, match=rf"(card|kind) = '({other}|npu-pim|pim)'"):
                one.restore(device(other).save())
    with pytest.raises(InvalidArgument, match=r"(profile|cores|memory_bytes) = '"):
        one.restore(device(card, 1).save())


@pytest.mark.parametrize("card", CARDS)
def test_a_tensor_that_no_card_holds_is_refused(card: str) -> None:
    huge = (DType.FLOAT16, (1 << 30, 1 << 30))
    given = Operation("MatMul", ((DType.FLOAT16, (1, 1 << 30)), huge), (None,))
    with pytest.raises(InvalidArgument, match=r"MatMul: input 1 has shape \[1073741824, 10737"):
        device(card).cost(given)
