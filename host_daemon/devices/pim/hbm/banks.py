"""The banks of an HBM-PIM card that one VF owns: cost and results of what they compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from host_daemon.core.device import ARITHMETIC, Card, NodeCost, Operation
from host_daemon.devices.pim.hbm import numbers
from host_daemon.devices.pim.hbm.parameters import HbmParameters
from host_daemon.devices.pim.hbm.timing import BURST_BYTES
from host_daemon.devices.pim.hbm.work import Kernels, Work, counted, inside_accesses, work
from host_daemon.devices.pim.host import HostModel
from vaccel.errors import Unsupported
from vaccel.model import Array, DType, Profile

FP16: Final = "fp16"
# What a program may ask for: the host computes in the common kernels' float32.
_ASKED: Final = (FP16, "fp32")
# Products are the banks' whatever they cost: their arithmetic is not the host's.
_OWN: Final = frozenset({"MatMul", "Gemm", "LSTM"})
_PRODUCTS: Final = frozenset({"MatMul", "Gemm"})
_ELEMENTWISE: Final = frozenset({"Add", "Mul", "Relu", "BatchNormalization"})


class HbmBanks:
    """Channels of HBM-PIM. They compute fp16: what is of that type, or asks for it.

    Products with few left rows, and LSTMs, are the banks'. Element-wise operations have the same
    results on either side, and go where they are done sooner.
    """

    arithmetic: Sequence[str] = (FP16,)

    def __init__(self, card: Card, profile: Profile) -> None:
        self._own: HbmParameters = card.parameters.own
        self._card = card.name
        self._channels = profile.cores
        self._host = HostModel(card, profile)

    def _work(self, operation: Operation) -> Work | None:
        asked = operation.attributes.get(ARITHMETIC)
        if asked is not None and asked not in _ASKED:
            raise Unsupported(
                f"{operation.op}: {self._card} does not compute in {asked}",
                hint=f"it does in {', '.join(_ASKED)}",
            )
        if not _in_halves(operation):
            return None
        return work(operation, self._channels, self._own.rows)

    def cost(self, operation: Operation) -> NodeCost | None:
        """The closed form; None where the host does it.

        Raises InvalidArgument where shapes do not fit, Unsupported for an arithmetic that neither
        banks nor host have.
        """
        asked = self._work(operation)
        if asked is None:
            return None
        found = self._cost(asked)
        if operation.op in _OWN:
            return found
        slower = found.critical_cycles > self._host.cost(operation).critical_cycles
        return None if slower else found

    def _cost(self, asked: Work) -> NodeCost:
        host = self._host
        banks = opened = refreshes = pins = inside = 0
        for each in asked.kernels:
            of = counted(each.name, each.tiles, each.rounds, self._own.timing)
            channels = self._channels * each.times
            banks += of.spent.cycles * each.times
            opened += of.spent.opened * channels
            refreshes += of.spent.refreshes * channels
            pins += of.bus * BURST_BYTES * channels
            inside += inside_accesses(of) * channels
        lanes = math.ceil(asked.operations / host.operations_per_cycle)
        bus = math.ceil(asked.moved / host.bytes_per_cycle)
        joules = self._joules(opened, inside, refreshes)
        for part, value in host.joules(asked.operations, asked.moved + pins).items():
            joules[part] = joules.get(part, 0.0) + value
        busy = {"banks": banks, "host": lanes, "bus": bus}
        return NodeCost(
            place="banks",
            # The host lays out before and adds up after, not beside the banks.
            critical_cycles=host.node_cycles + banks + max(lanes, bus),
            cycles={unit: value for unit, value in busy.items() if value},
            bytes={
                "banks": inside * BURST_BYTES,
                "dram": pins + asked.moved,
                **({"layout": asked.layout} if asked.layout else {}),
            },
            joules={part: value for part, value in joules.items() if value},
            macs=asked.macs,
            note=_note(asked.kernels),
        )

    def _joules(self, opened: int, inside: int, refreshes: int) -> dict[str, float]:
        energy = self._own.energy
        # A burst of 16 lanes is as many operations of a block, padding included.
        computed = inside * (BURST_BYTES // 2)
        return {
            "activate": opened * energy.activate,
            "column": inside * energy.column,
            "pim": computed * energy.mac,
            "refresh": refreshes * energy.refresh,
        }

    def computes(self, operation: Operation) -> bool:
        """Products and LSTMs in fp16; element-wise operations only where float32 would be another
        result. What turns out to be the host's once shapes are known, ``run`` leaves to it.
        """
        if operation.domain not in ("", "ai.onnx") or not _in_halves(operation):
            return False
        if operation.op in _ELEMENTWISE:
            asked = operation.attributes.get(ARITHMETIC) == FP16
            return asked or operation.op == "BatchNormalization"
        if operation.op not in _OWN:
            return False
        if operation.op in _PRODUCTS and operation.attributes.get(ARITHMETIC) == FP16:
            return True  # the host's, where banks cannot: rounded around its kernels
        shapes = [each[1] for each in operation.inputs if each]
        unknown = any(not shape or -1 in shape for shape in shapes)
        return unknown or self._work(operation) is not None

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """The banks' result, as ``cost`` places it; None where the host computes it.

        Raises InvalidArgument where shapes do not fit.
        """
        if self.cost(operation) is None:
            return None
        return numbers.compute(operation, inputs)


def _note(kernels: Sequence[Kernels]) -> str:
    """What ``program`` and ``trace`` can be asked for."""
    parts = []
    for each in kernels:
        rounds = f", {each.rounds} rounds" if each.rounds > 1 else ""
        parts.append(f"{each.name} of {each.tiles} tiles{rounds}")
    times = f", {kernels[0].times} times" if kernels[0].times > 1 else ""
    return f"{'; '.join(parts)}{times} a channel"


def _in_halves(operation: Operation) -> bool:
    """Whether an operation is of fp16, or float32 that asks for it."""
    first = operation.inputs[0] if operation.inputs else None
    asked = operation.attributes.get(ARITHMETIC)
    if first is None or first[0] not in (DType.FLOAT16, DType.FLOAT32):
        return False
    return first[0] is DType.FLOAT16 if asked is None else bool(asked == FP16)
