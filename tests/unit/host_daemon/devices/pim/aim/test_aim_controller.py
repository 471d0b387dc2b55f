"""Programs on single banks, command by command: public figures, and the rules one at a time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.devices.pim.aim import isr, program
from host_daemon.devices.pim.aim.commands import ON_ONE, ON_ONE_ROW, ON_ROWS, Command
from host_daemon.devices.pim.aim.controller import BANKS
from host_daemon.devices.pim.aim.isr import FIELDS, Instruction, Opcode
from host_daemon.devices.pim.aim.oracles import SIMULATED
from host_daemon.devices.pim.aim.program import Execution, execute
from host_daemon.devices.pim.aim.timing import Level
from vaccel import bounds
from vaccel.errors import InvalidArgument


def of(*lines: str, channels: int = 1) -> Execution:
    return execute(isr.read("\n".join((*lines, "AiM EOC"))), SIMULATED, channels)


def counted(done: Execution, channel: int = 0) -> dict[str, int]:
    return dict(Counter(each.command.value for each in done.commands(channel)))


def _fan_out(channels: int) -> list[str]:
    """Each instruction for several channels once, then those for one on the last of them. Sizes are
    2 where the fork writes 1: there they count from 0.
    """
    mask, last = hex((1 << channels) - 1), channels - 1
    one = hex(1 << last)
    return [
        *("W GPR 0", "W GPR 1", f"AiM WR_GB 2 0 {mask}", f"AiM WR_BIAS 2 {mask}", "W CFR 0 1"),
        *(f"AiM MAC_ABK 2 {mask} 0", f"AiM MAC_SBK 2 {mask} 0 0", "W CFR 1 0"),
        *(f"AiM EWMUL 2 {mask} 0", "W CFR 2 1", f"AiM AF {mask}", f"AiM RD_MAC 4 {mask}"),
        *(f"AiM RD_AF 6 {mask}", f"AiM COPY_BKGB 2 {mask} 0 0", f"AiM COPY_GBBK 2 {mask} 0 0"),
        *("AiM SYNC", f"AiM WR_ABK 0 {one} 1", *[f"AiM WR_SBK 0 {one} 0 2"] * 4),
        *([f"W MEM {last} 2 3"] * 4), "AiM SYNC", *([f"AiM RD_SBK 8 {one} 1 2"] * 4),
        *([f"R MEM {last} 3 3"] * 4), "AiM SYNC",
    ]


def _rows(count: int) -> list[str]:
    rows = [f"AiM MAC_ABK 64 0x1 {row}" for row in range(count)]
    first = ["W GPR 0", "AiM WR_GB 64 0 0x1", "AiM WR_BIAS 2 0x1", "W CFR 0 1"]
    return [*first, *rows, "AiM RD_MAC 4 0x1"]


@pytest.mark.parametrize("channels", [1, 2, 32])
def test_every_instruction_takes_what_a_public_fork_records(channels: int) -> None:
    """cornell-m3/aim_simulator, test/channels: golden.txt, and the commands that run.py expects."""
    done = of(*_fan_out(channels), channels=channels)
    assert done.cycles == 800
    counts = counted(done, channels - 1)
    before = {"ACT": 1, "ACT16": 2, "WRA16": 0, "WR": 0, "RD": 0}
    if channels > 1:
        others = counted(done, 0)
        assert before == {name: others.get(name, 0) for name in before}
    more = {"ACT": 4, "ACT16": 1, "WRA16": 1, "WR": 8, "RD": 8}
    assert {name: counts[name] - before[name] for name in more} == more


@pytest.mark.parametrize(
    ("rows", "cycles"), [(2, 641), (4, 1093), (8, 1997), (16, 3805), (32, 7421), (256, 58045)]
)
def test_rows_of_macs_take_what_the_fork_records(rows: int, cycles: int) -> None:
    assert of(*_rows(rows)).cycles == cycles


def test_macs_without_the_buffer_take_what_the_fork_records() -> None:
    """Its design A, bcast_16: ten rounds; nothing tells the host's registers from the buffer."""
    text = [
        line
        for turn in range(10)
        for line in ("AiM WR_BIAS 4 0xffff", f"AiM MAC_ABK 64 0xffff {turn}", "AiM RD_MAC 4 0xffff")
    ]
    assert of(*text, channels=32).cycles == 2860


def test_a_bank_is_opened_used_and_closed_alone() -> None:
    # A second channel with nothing to do: programs of like channels take another way.
    done = of("AiM MAC_SBK 3 0x1 6 9", "AiM MAC_SBK 1 0x1 6 8", "W CFR 0 1", channels=2)
    shown = [(each.cycle, each.command.value, each.bank) for each in done.commands(0)]
    close = 56 + 4 + 12  # the last MAC, then read to precharge; nRAS is over
    assert shown == [
        (0, "ACT", 6),
        *((56 + 2 * k, "MAC", 6) for k in range(3)),
        (close, "PRE", 6),
        (close + 32, "ACT", 6),
        (close + 32 + 56, "MAC", 6),
    ]
    assert list(done.commands(1)) == []


@pytest.mark.parametrize(
    ("line", "command", "wait"),
    [
        ("AiM RD_SBK 0 0x1 0 5", "RD", 36),
        ("AiM WR_SBK 0 0x1 0 5", "WR", 28),
        ("AiM MAC_SBK 1 0x1 0 5", "MAC", 56),
        ("AiM COPY_BKGB 1 0x1 0 5", "RDCP", 66),
        ("AiM COPY_GBBK 1 0x1 0 5", "WRCP", 48),
        ("R MEM 0 0 5", "RD", 36),
        ("W MEM 0 0 5", "WR", 28),
    ],
)
def test_a_first_access_waits_for_its_row(line: str, command: str, wait: int) -> None:
    # The second one is there so that the first has gone out before the end is marked.
    done = of(line, line)
    shown = [(each.cycle, each.command.value) for each in done.commands(0)]
    assert shown == [(0, "ACT"), (wait, command), (wait + 2, command)]


def test_what_opens_a_bank_just_before_the_end_is_not_waited_for() -> None:
    done = of("AiM WR_SBK 0 0x1 0 5")
    assert counted(done) == {"ACT": 1}
    assert done.cycles == 3


def test_a_read_behind_waiting_writes_is_answered_from_them() -> None:
    done = of(*["AiM WR_SBK 0 0x1 0 5"] * 3, "AiM RD_SBK 0 0x1 9 9")
    assert counted(done) == {"ACT": 1, "WR": 3}
    done = of(*["AiM WR_SBK 0 0x1 0 5"] * 3, "AiM SYNC", *["AiM RD_SBK 0 0x1 9 9"] * 2)
    assert counted(done) == {"ACT": 2, "WR": 3, "RD": 2}


def test_single_banks_and_aim_take_turns() -> None:
    """AiM's requests are let in once no access waits, accesses once none of AiM's does."""
    done = of(*["AiM WR_SBK 0 0x1 0 5"] * 3, "AiM WR_BIAS 0 0x1", *["AiM WR_SBK 0 0x1 0 5"] * 2)
    names = [each.command.value for each in done.commands(0)]
    assert names == ["ACT", "WR", "WR", "WR", "TMOD", "WRMAC16", "TMOD", "WR", "WR"]


def test_more_accesses_than_can_wait_hold_up_the_host() -> None:
    many = [f"W MEM 0 {bank} {row}" for row in range(3) for bank in range(16)]
    done = of(*many, *["W MEM 0 15 2"] * 2, "AiM SYNC")
    assert counted(done)["WR"] == 50
    # Of a bank's three rows each is opened once: those that wait for an open one go first.
    assert counted(done)["ACT"] == 48
    assert done.cycles > 3 * (SIMULATED.ras + SIMULATED.rp)


SINGLE = [each for each in Opcode if each not in (Opcode.EOC, Opcode.W_GPR, Opcode.R_GPR)]
LEAST = {"size": (1, 40), "bank": (0, 15), "row": (0, 2), "register": (0, 2), "channel": (0, 2)}


@st.composite
def programs(draw: st.DrawFn, opcodes: list[Opcode], masks: list[int]) -> list[Instruction]:
    found = []
    for _ in range(draw(st.integers(1, 12))):
        opcode = draw(st.sampled_from(opcodes))
        values = {
            field: draw(st.integers(*LEAST[field])) for field in FIELDS[opcode] if field in LEAST
        }
        if "mask" in FIELDS[opcode]:
            values["mask"] = 1 if opcode is Opcode.WR_ABK else draw(st.sampled_from(masks))
        if opcode is Opcode.MAC_SBK:
            values["bank"] &= ~1
        found.append(Instruction(opcode, **values))
    return [*found, Instruction(Opcode.EOC)]


TOGETHER = [each for each in SINGLE if "bank" not in FIELDS[each] and each is not Opcode.WR_ABK]


@settings(max_examples=80, deadline=None)
@given(programs([*TOGETHER, Opcode.W_GPR, Opcode.W_CFR, Opcode.EWADD], [0b11]))
def test_an_instruction_at_a_time_is_a_command_at_a_time(given_program: list[Instruction]) -> None:
    decoded = tuple(program._decoded(given_program, 3))
    fast = execute(given_program, SIMULATED, 3)
    slow = program._stepped(decoded, SIMULATED, 3)
    assert fast.cycles == slow.cycles
    for channel in range(3):
        assert list(fast.commands(channel)) == list(slow.commands(channel))


@settings(max_examples=80, deadline=None)
@given(programs(SINGLE, [1, 2, 3, 7]))
def test_commands_keep_their_distance_and_find_their_rows(given_program: list[Instruction]) -> None:
    """What the delays demand between any two commands, and rows open where they are used."""
    done = execute(given_program, SIMULATED, 3)
    for channel in range(3):
        issued, rows = [], [False] * BANKS
        for each in done.commands(channel):
            for at, before, bank in issued:
                for level, rules in SIMULATED.rules.items():
                    shared = {
                        Level.CHANNEL: True,
                        Level.GROUP: bank // 4 == each.bank // 4 and min(bank, each.bank) >= 0,
                        Level.BANK: bank == each.bank >= 0,
                    }[level]
                    if shared:
                        assert each.cycle - at >= rules[before].get(each.command, 0)
            if each.command in ON_ONE_ROW:
                assert rows[each.bank]
            if each.command in ON_ROWS:
                assert all(rows)
            where = range(BANKS) if each.bank < 0 else [each.bank]
            for bank in where:
                if each.command in (Command.ACTIVATE, Command.ACTIVATE_ONE):
                    rows[bank] = True
                elif each.command in (
                    Command.PRECHARGE, Command.PRECHARGE_ONE, Command.WRITE_BANKS
                ):
                    rows[bank] = False
            issued.append((each.cycle, each.command, each.bank))
            assert (each.bank >= 0) == (each.command in ON_ONE)


def test_what_is_stepped_through_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PIM_TRACE_COMMANDS", 99)
    with pytest.raises(InvalidArgument, match="has 102 commands on channels that differ, at most"):
        of("AiM MAC_SBK 50 0x1 0 0", "AiM MAC_SBK 50 0x2 2 0", channels=2)
