"""Element-wise nodes on the vector core, on tiles of a product's result before they are written.

The result of the product alone never reaches DRAM: what is written is that of the last node. What
the nodes take beside it (a bias, a residual) is read with the product's operands, into the
accumulators, where Gemmini puts what its sums begin with. With r rounds of tiles over the arrays::

    product = what it takes as it is, with that result and those operands
    V       = vector cycles of the nodes: max(operations / lanes, bytes / SRAM bandwidth) each
    hidden  = min(V, product - vector cycles of the product) * (r - 1) / r
    total   = product + V - hidden + issue of each node

The nodes on one round of tiles run beside the product of the next, and behind the last round beside
nothing. A product of one round, one whose arrays overlap nothing, and a transposed convolution,
whose patches have to be added up first, hide none of it. Docs: docs/devices/npu.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from host_daemon.core.device import Epilogue, NodeCost
from host_daemon.devices.gemm import Gemm
from host_daemon.devices.lowering import Lowered
from host_daemon.devices.npu import energy
from host_daemon.devices.npu.memory import tile
from host_daemon.devices.npu.parameters import NpuParameters
from host_daemon.devices.npu.shape import Machine
from host_daemon.devices.work import size, work


def with_result(lowered: Lowered, behind: Sequence[Epilogue]) -> Lowered:
    """A product of one GEMM that writes what the last node behind it gives."""
    (step,) = lowered.steps
    last = work(behind[-1].operation)
    beside = sum(work(each.operation).bytes_read - _through(each) for each in behind)
    gemm = replace(step.gemm, output_bytes=last.bytes_written, beside_bytes=beside)
    return replace(lowered, steps=(replace(step, gemm=gemm),))


def _through(each: Epilogue) -> int:
    return size(each.operation.inputs[each.through])


def rounds(gemm: Gemm, machine: Machine) -> int:
    """How often all arrays get a tile."""
    if gemm.empty:
        return 1
    tiling = tile(gemm, machine)
    return -(-gemm.batch * tiling.tiles_m * tiling.tiles_n // machine.units)


def vector_cycles(own: NpuParameters, cores: int, operations: int, moved: int) -> int:
    """Cycles that the vector cores are busy with so many lane operations and bytes of SRAM."""
    lanes = math.ceil(operations / (own.lanes * cores))
    return max(lanes, math.ceil(moved / (own.sram_bytes_per_cycle * cores)))


def behind_product(
    own: NpuParameters, cores: int, product: NodeCost, behind: Sequence[Epilogue], many: int
) -> list[NodeCost]:
    """What each node costs behind ``product``, whose tiles go ``many`` rounds."""
    asked = [work(each.operation) for each in behind]
    moved = [each.bytes_read + each.bytes_written for each in asked]
    busy = [
        vector_cycles(own, cores, each.operations, through)
        for each, through in zip(asked, moved, strict=True)
    ]
    room = product.critical_cycles - own.node_cycles - product.cycles.get("vector", 0)
    seen = sum(busy) - min(sum(busy), room) * (many - 1) // many
    costs, before = [], 0
    for one, through, cycles in zip(asked, moved, busy, strict=True):
        # Each has its share of what is not hidden, to the cycle.
        after = before + cycles
        shown = seen * after // max(1, sum(busy)) - seen * before // max(1, sum(busy))
        before = after
        costs.append(
            NodeCost(
                place="vector",
                critical_cycles=own.node_cycles + shown,
                cycles={"vector": cycles} if cycles else {},
                bytes={"sram": through} if through else {},
                joules=energy.dynamic(
                    own.energy,
                    None,
                    macs=0,
                    operations=one.operations,
                    sram_bytes=through,
                    dram_bytes=0,
                ),
            )
        )
    return costs


def is_no_dearer(together: Sequence[NodeCost], apart: Sequence[NodeCost]) -> bool:
    """Whether nodes take no more time, bytes of DRAM and joules than others do."""
    return all(one <= other for one, other in zip(_sums(together), _sums(apart), strict=True))


def _sums(costs: Sequence[NodeCost]) -> tuple[float, ...]:
    return (
        sum(each.critical_cycles for each in costs),
        sum(each.bytes.get("dram", 0) for each in costs),
        math.fsum(joules for each in costs for joules in each.joules.values()),
    )
