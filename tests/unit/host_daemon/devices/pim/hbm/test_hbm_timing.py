"""Cycles and commands: the public simulator's rows and trace, and two ways to a kernel's time."""

from __future__ import annotations

import csv
import re
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.devices.oracle import Oracle
from host_daemon.devices.pim.hbm import kernels, program, record, trace
from host_daemon.devices.pim.hbm.controller import Channel
from host_daemon.devices.pim.hbm.kernels import Kernel
from host_daemon.devices.pim.hbm.oracles import ORACLES, pimsimulator
from host_daemon.devices.pim.hbm.schedule import direct, schedule
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.validate import DEFAULT, read
from tests.unit.host_daemon.devices.pim.hbm.stepped import Stepped
from vaccel.errors import InvalidArgument

QUIET = Timing(refresh_interval=0)
FIRST = ("channels", "kernel", "mode", "refresh", "out_dim", "in_dim")


def test_every_row_of_the_simulator_to_the_cycle() -> None:
    (oracle,) = ORACLES
    assert isinstance(oracle, Oracle)
    rows = read(DEFAULT / oracle.file)
    assert len(rows) > 60
    for row in rows:
        inputs = {name: row[name] for name in FIRST}
        assert pimsimulator(inputs) == int(row[oracle.result]), inputs


def test_other_intervals_of_refresh() -> None:
    row = dict(zip(FIRST, ("1", "GEMV", "pim", "", "512", "1024"), strict=True))
    names = ("default_tREFI900", "default_tREFI3900", "default_tREFI15600", "default_tREFI0")
    cycles = [pimsimulator(row | {"refresh": name}) for name in names]
    assert cycles == sorted(cycles, reverse=True) and len(set(cycles)) == 4
    assert cycles[-1] == pimsimulator(row | {"refresh": "refresh_disabled_tREFI1e8"})


def test_the_same_work_over_the_bus_without_pim() -> None:
    """The simulator's own benchmarks, 64 channels: "host X / PIM Y"."""
    sizes = {"gemv 4096x4096": 4096, "mul 2097152": 1 << 21, "add 1048576": 1 << 20}
    sizes["relu 4194304"] = 1 << 22
    found = 0
    for row in read(DEFAULT / "pim" / "pimsimulator_shipped_tests.csv"):
        suite, _, test = row["test"].partition(".")
        if suite != "PIMBenchFixture":
            continue
        host, pim = (int(part) for part in re.findall(r"\b[0-9]{4,}\b", row["value"])[:2])
        size = sizes[test]
        values = ("64", test.split()[0].upper(), "host", "default_tREFI3900", str(size), str(size))
        inputs = dict(zip(FIRST, values, strict=True))
        assert pimsimulator(inputs) == host
        assert pimsimulator(inputs | {"mode": "pim"}) == pim
        found += 1
    assert found == 4


@pytest.mark.parametrize(("tiles", "rounds"), [(1, 1), (1, 4), (2, 1), (4, 3), (32, 2)])
def test_gemv_without_refresh_is_the_published_form(tiles: int, rounds: int) -> None:
    each = 419 if tiles == 1 else 78 + 729 * tiles // 2
    assert schedule(QUIET).spent(kernels.gemv(tiles, rounds)).cycles == 331 + rounds * each


@pytest.mark.parametrize("tiles", [1, 2, 5, 40])
def test_element_wise_kernels_without_refresh(tiles: int) -> None:
    assert schedule(QUIET).spent(kernels.binary(tiles)).cycles == 409 + 322 * tiles
    assert schedule(QUIET).spent(kernels.unary(tiles)).cycles == 409 + 204 * tiles


@st.composite
def _kernels(draw: st.DrawFn, most: int = 9) -> Kernel:
    tiles, rounds = draw(st.integers(1, most)), draw(st.integers(1, most // 2 + 1))
    words = draw(st.integers(1, 32))
    make = draw(st.sampled_from(["gemv", "unary", "binary", "ternary", "scaled"]))
    if make in ("gemv", "scaled"):
        return getattr(kernels, make)(tiles, rounds, words)
    return getattr(kernels, make)(tiles * rounds, words)


_INTERVALS = st.one_of(st.sampled_from([0, 3900]), st.integers(900, 6000))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(_kernels(), _INTERVALS, st.integers(1, 2))
def test_what_is_looked_up_is_what_the_state_machine_does(
    kernel: Kernel, interval: int, ranks: int
) -> None:
    timing = Timing(refresh_interval=interval, ranks=ranks)
    channel = Channel(timing)
    for _ in channel.steps(kernel):
        pass
    spent = schedule(timing).spent(kernel)
    assert spent.cycles == direct(kernel, timing) == channel.now - 1 + timing.read_return
    assert spent.opened == channel.opened


@st.composite
def _timings(draw: st.DrawFn) -> Timing:
    """Parts faster and slower than the card."""
    return Timing(
        activate_to_read=draw(st.integers(6, 20)),
        precharge=draw(st.integers(6, 20)),
        active=draw(st.integers(20, 40)),
        column_long=draw(st.integers(2, 6)),
        activate_long=draw(st.integers(4, 9)),
        write_recovery=draw(st.integers(8, 24)),
        refresh=draw(st.integers(100, 400)),
        refresh_interval=draw(_INTERVALS),
        ranks=draw(st.integers(1, 2)),
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(_kernels(5), _timings())
def test_the_state_machine_is_the_controller_cycle_by_cycle(
    kernel: Kernel, timing: Timing
) -> None:
    slow, fast, commands = Stepped(timing), Channel(timing), []
    fast.sink = commands.append
    slow.run(kernel)
    for _ in fast.steps(kernel):
        pass
    assert [(each.cycle, each.kind, each.bank) for each in commands] == slow.issued
    assert schedule(timing).spent(kernel).cycles == slow.issued[-1][0] + timing.read_return


def test_commands_keep_their_distance() -> None:
    """What any HBM2 part demands, checked on the commands themselves."""
    timing, commands = Timing(), []
    channel = Channel(timing)
    channel.sink = commands.append
    channel.run(kernels.gemv(9, 3))
    assert len({command.cycle for command in commands}) == len(commands)  # one a cycle
    opened: dict[int, int] = {}
    closed: dict[int, int] = {}
    refreshed = -timing.refresh
    for cycle, kind, bank, _, _ in commands:
        if kind == "REF" and bank == 0:
            assert not opened
            refreshed = cycle
        elif kind == "ACT":
            assert bank not in opened
            assert cycle >= max(closed.get(bank, -99) + timing.precharge, refreshed + 350)
            opened[bank] = cycle
        elif kind == "PRE":
            assert cycle >= opened.pop(bank) + timing.active
            closed[bank] = cycle
        elif kind != "REF":
            wait = timing.activate_to_read if kind == "READ" else timing.activate_to_write
            assert cycle >= opened[bank] + wait


def test_the_trace_is_the_simulators() -> None:
    name = "pimsimulator_trace_gemv_64x256_1ch.csv"
    with (DEFAULT / "pim" / name).open(newline="") as file:
        expected = list(csv.reader(file))
    given = StringIO()
    record.write(record.gemv(64, 256, Timing()), given)
    rows = list(csv.reader(StringIO(given.getvalue())))
    assert rows == expected
    assert len(rows) == 307


def test_a_trace_shows_refresh_and_the_srf() -> None:
    of = program.scale_shift(1)
    rows = record.record(kernels.scaled(1, 20, len(of)), of, Timing())
    names = [row[1] for row in rows]
    assert names.count("BWRITE_SRF") == 20
    assert names.count("REF") == int(rows[-1][0]) // 1950 > 2
    assert names.count("HAB_PIM") == 20


def test_traces_are_exported_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    given = str(DEFAULT / "pim" / "pimsimulator_trace_gemv_64x256_1ch.csv")
    assert trace.main(["gemv", "64", "256", "--compare", given]) == 0
    assert capsys.readouterr().out == "equal: 306 commands, every cycle\n"
    assert trace.main(["gemv", "128", "256", "--channels", "2", "--compare", given]) == 0
    capsys.readouterr()
    assert trace.main(["gemv", "64", "384", "--compare", given]) == 1
    assert capsys.readouterr().out.startswith("line 87: 254,READ,0,0,0,8,,1:JUMP 7x [PC - 2] there")
    assert trace.difference([], [list(record.COLUMNS), ["1"]]) == "1 commands there, 0 here"
    for name in ("add", "mul", "mad", "relu", "batchnorm"):
        assert trace.main([name, "5000"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith("cycle,cmd,") and shown.count("HAB_PIM") == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["gemv", "64"], "gemv has 1 sizes"),
        (["add", "64", "64"], "add has 2 sizes"),
        (["gemv", "64", "0"], "INPUTS = 0"),
        (["add", "64", "--channels", "4097"], "channels = 4097"),
        (["gemv", "1000000", "4096"], "bursts of a channel, a trace has at most 131072"),
        (["add", "64", "--compare", "none.csv"], "trace none.csv cannot be read"),
        (["add", "64", "--compare", __file__ + "c"], "cannot be read"),
    ],
)
def test_what_cannot_be_traced_is_named(
    arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trace.main(arguments) not in (0, 1)
    assert what in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("channels", "0", "channels = '0'"),
        ("kernel", "CONV", "kernel = 'CONV'"),
        ("mode", "gpu", "mode = 'gpu'"),
        ("refresh", "never", "refresh = 'never'"),
        ("refresh", "default_tREFI350", "every 350 cycles leave no time"),
        ("in_dim", "-1", "in_dim = '-1'"),
    ],
)
def test_a_row_that_cannot_be_predicted(column: str, value: str, what: str) -> None:
    row = dict(zip(FIRST, ("1", "GEMV", "pim", "default_tREFI3900", "64", "128"), strict=True))
    with pytest.raises(InvalidArgument, match=what):
        pimsimulator(row | {column: value})
