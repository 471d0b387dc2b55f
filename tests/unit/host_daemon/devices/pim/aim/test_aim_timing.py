"""AiM's timing: equal to the public simulator's rows, and to a machine that steps each cycle."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.devices.pim.aim.channel import Channel
from host_daemon.devices.pim.aim.commands import ON_REGISTERS, ON_ROWS, TOGETHER, Command
from host_daemon.devices.pim.aim.gemv import Gemv, instructions, spend
from host_daemon.devices.pim.aim.oracles import SIMULATED, cycles, gemv_of
from host_daemon.devices.pim.aim.program import execute
from host_daemon.devices.pim.aim.timing import Timing
from host_daemon.devices.validate import DEFAULT, read
from vaccel.errors import InvalidArgument

ROWS = read(DEFAULT / "pim" / "aim_simulator_cycles.csv")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_equal_to_the_simulator_in_cycles_and_commands(row: dict[str, str]) -> None:
    assert cycles(row) == int(row["cycles"])
    expected = dict(each.split("=") for each in row["ch0_commands"].split(";"))
    counts = spend(gemv_of(row), SIMULATED).commands
    assert {each.value: str(count) for each, count in counts.items()} == expected


def test_the_published_rules_of_thumb() -> None:
    def of(outputs: int, inputs: int, keep: bool = False) -> int:
        return spend(Gemv(outputs, inputs, 32, keep), SIMULATED).cycles

    assert of(512, 1024) == 415
    for passes in (2, 5, 9):
        assert of(512 * passes, 1024) == 415 + 414 * (passes - 1)
        assert of(512 * passes, 1024, keep=True) == 415 + 286 * (passes - 1)
    for chunks in (2, 3, 7):
        assert of(512, 1024 * chunks) == 415 + 406 * (chunks - 1)
    for columns in (1, 16, 63):
        assert of(512, 16 * columns) == 159 + 4 * columns


def test_a_hundred_times_as_fast_as_the_simulator() -> None:
    reference = sum(float(row["host_cpu_s"]) for row in ROWS)
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for row in ROWS:
            cycles(row)
        best = min(best, time.process_time() - start)
    assert reference / best > 100


SIZES = st.integers(1, 5000)


@settings(max_examples=40, deadline=None)
@given(
    SIZES, SIZES, st.sampled_from((1, 2, 7, 32)), st.booleans(), st.sampled_from((None, 0, 1))
)
def test_the_closed_form_is_the_program_command_by_command(
    outputs: int, inputs: int, channels: int, keep: bool, function: int | None
) -> None:
    gemv = Gemv(outputs, inputs, channels, keep, function)
    whole = execute(instructions(gemv), SIMULATED, channels)
    closed = spend(gemv, SIMULATED)
    assert closed.cycles == whole.cycles
    for channel in {0, channels - 1}:
        counts = Counter(each.command for each in whole.commands(channel))
        assert counts == closed.commands


class Stepwise:
    """The rules again, slow and obvious: at each cycle, may the next command go out?"""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.issued: list[tuple[int, Command]] = []
        self.cycle = 0
        self.row: int | None = None
        self.on_registers = False

    def may(self, command: Command) -> bool:
        delays = dict(self.timing.delays[command])
        return all(
            self.cycle - at >= delays[before] for at, before in self.issued if before in delays
        )

    def serve(self, final: Command, row: int) -> None:
        while True:
            self.cycle += 1
            command = final
            if final in ON_ROWS and self.row is None:
                command = Command.ACTIVATE
            elif final in ON_ROWS and self.row != row:
                command = Command.PRECHARGE
            if not self.may(command):
                continue
            if self.on_registers != (final in ON_REGISTERS):
                command = Command.MODE
                self.on_registers = not self.on_registers
            self.issued.append((self.cycle, command))
            if command is Command.ACTIVATE:
                self.row = row
            if command in (Command.PRECHARGE, Command.WRITE_BANKS):
                self.row = None
            if command is final:
                return


SERVED = [each for each in TOGETHER if each not in ("TMOD", "ACT16", "PREA")]
REQUESTS = st.tuples(
    st.sampled_from(SERVED),
    st.integers(1, 4),
    st.integers(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, max_size=8))
def test_runs_go_out_as_single_commands_would(requests: list[tuple[Command, int, int]]) -> None:
    channel, slow = Channel(SIMULATED, log=[]), Stepwise(SIMULATED)
    for command, count, row in requests:
        channel.issue(command, count, row)
        for _ in range(count):
            slow.serve(command, row)
    assert channel.log is not None
    fast = [
        (run.cycle + index * run.distance, run.command)
        for run in channel.log
        for index in range(run.count)
    ]
    assert fast == slow.issued


def test_repeating_a_step_is_the_step_many_times() -> None:
    for times in (0, 1, 2, 3, 50):
        one, other = Channel(SIMULATED), Channel(SIMULATED, log=[])
        for channel in (one, other):

            def step(index: int, channel: Channel = channel) -> None:
                channel.issue(Command.EWMUL, 3, index)
                channel.issue(Command.WRITE_BUFFER, 2)
                channel.issue(Command.AF, 1, 1000 + index)
                channel.issue(Command.READ_AF)
                channel.wait()

            channel.repeat(step, times)
        assert (one.cycle, one.counts, one.finish()) == (
            other.cycle,
            other.counts,
            other.finish(),
        )


@pytest.mark.parametrize("field", ["outputs", "inputs", "channels"])
def test_an_empty_product_is_refused(field: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{field} = 0"):
        Gemv(**{"outputs": 1, "inputs": 1, "channels": 1, field: 0})


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"out_dim": "", "in_dim": "", "case": "all_isr"}, "case = 'all_isr' has no out_dim"),
        ({"in_dim": ""}, "column in_dim = '' is not a positive integer"),
        ({"channels": "33"}, "column channels = '33' is more than 32"),
        ({"out_dim": "9" * 18}, f"column out_dim = '{'9' * 18}' is more than 549755813888"),
        ({"out_dim": str(1 << 30)}, "out_dim = 1073741824, in_dim = 1024: weights of 219902325"),
    ],
)
def test_a_row_that_cannot_be_predicted(changed: dict[str, str], what: str) -> None:
    row = {"case": "own", "out_dim": "512", "in_dim": "1024", "channels": "32"}
    assert cycles(row) == 415
    with pytest.raises(InvalidArgument, match=what):
        cycles(row | changed)


def test_the_largest_row_takes_a_moment() -> None:
    start = time.process_time()
    sizes = ((1 << 39, 1), (1, 1 << 39), (1 << 20, 1 << 19))
    for outputs, inputs in sizes:
        row = {"out_dim": str(outputs), "in_dim": str(inputs), "channels": "1"}
        assert cycles(row) > 1 << 30
    assert time.process_time() - start < 5
