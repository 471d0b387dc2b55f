"""The same work without PIM: the host reads operands and writes results over the bus.

This is what PIMSimulator's benchmarks compare with: streams of bursts at rising addresses, which
are interleaved over channels, then banks, then columns; one stream after the other has drained. The
controller sees 64 of them at a time, and one more arrives each cycle. Of a stream of more than
16,384 bursts a channel, what is beyond goes on at their pace, within 2 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from host_daemon.devices.pim.hbm.controller import Channel, Command
from host_daemon.devices.pim.hbm.kernels import LANES
from host_daemon.devices.pim.hbm.timing import BANKS, COLUMNS, Timing
from host_daemon.devices.pim.hbm.transactions import Transaction

# Bursts of a stream that a channel is followed through, one by one.
_EXACT: Final = 1 << 14
Stream = tuple[bool, int]


def streams(kernel: str, outputs: int, inputs: int) -> list[list[Stream]]:
    """(write, elements) in the groups that drain before the next begins: operands are read, then
    results written.
    """
    if kernel == "GEMV":
        return [[(False, outputs * inputs), (False, inputs)], [(True, outputs)]]
    operands = 1 if kernel == "RELU" else 2
    return [[(False, outputs)] * operands, [(True, outputs)]]


def _bursts(group: list[Stream], start: int, channels: int) -> Iterator[Transaction]:
    """What channel 0 sees of a group that begins at a burst."""
    for write, elements in group:
        end = start + -(-elements // LANES)
        for burst in range(-(-start // channels), -(-end // channels)):
            column = burst // BANKS
            yield Transaction(write, burst % BANKS, column // COLUMNS, column % COLUMNS)
        start = end


def cycles(kernel: str, outputs: int, inputs: int, channels: int, timing: Timing) -> int:
    """Cycles until all is read and written."""
    return sent(streams(kernel, outputs, inputs), channels, timing)


def sent(groups: list[list[Stream]], channels: int, timing: Timing) -> int:
    """Cycles of groups of streams on channel 0, which has no less to do than any other."""
    channel = Channel(timing)
    start = more = 0
    for group in groups:
        short = [(write, min(elements, _EXACT * LANES * channels)) for write, elements in group]
        channel.drain(_bursts(short, start, channels))
        start += sum(-(-elements // LANES) for _, elements in short)
        for (write, elements), (_, kept) in zip(group, short, strict=True):
            bursts = -(-(elements - kept) // (LANES * channels))
            more += round(bursts * _pace(write, timing)) if bursts else 0
    return channel.now + more


@lru_cache(maxsize=64)
def _pace(write: bool, timing: Timing) -> float:
    """Cycles of a burst far into a stream: from one refresh to another, where two are seen."""
    refreshes: list[tuple[int, int]] = []  # the cycle of each, and bursts until then
    ends: list[tuple[int, int]] = []
    bursts = 0

    def note(command: Command) -> None:
        nonlocal bursts
        bursts += command.kind in ("READ", "WRITE")
        if command.kind == "REF":
            refreshes.append((command.cycle, bursts))
        elif bursts in (1, _EXACT):
            ends.append((command.cycle, bursts))

    channel = Channel(timing)
    channel.sink = note
    channel.feed(_bursts([(write, _EXACT * LANES)], 0, 1))
    # Ranks take turns at refreshes: from the first of one of them to its last.
    last = (len(refreshes) - 1) // timing.ranks * timing.ranks
    one, other = (refreshes[0], refreshes[last]) if last > 0 else (ends[0], ends[-1])
    return (other[0] - one[0]) / (other[1] - one[1])
