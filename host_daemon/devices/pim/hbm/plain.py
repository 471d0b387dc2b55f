"""The same work without PIM: the host reads operands and writes results over the bus.

This is what PIMSimulator's benchmarks compare with: streams of bursts at rising addresses, which
are interleaved over channels, then banks, then columns; one stream after the other has drained. The
controller sees 64 of them at a time, and one more arrives each cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from host_daemon.devices.pim.hbm.controller import Channel
from host_daemon.devices.pim.hbm.kernels import LANES
from host_daemon.devices.pim.hbm.timing import BANKS, COLUMNS, Timing
from host_daemon.devices.pim.hbm.transactions import Transaction

_DEPTH: Final = 64
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
    """Cycles until all is read and written. Channel 0, which has no less to do than any other."""
    channel = Channel(timing)
    start = 0
    for group in streams(kernel, outputs, inputs):
        channel.drain(_bursts(group, start, channels), _DEPTH)
        start += sum(-(-elements // LANES) for _, elements in group)
    return channel.now
