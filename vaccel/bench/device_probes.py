"""What a VF is asked so that it shows what its card can do. All answers are costs of its own.

Products are estimated, because a host's CPU would compute for minutes what a card does in one
millisecond; small programs are launched.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from vaccel.model import Cost, DType, Port, Tensor

if TYPE_CHECKING:
    import vaccel

# Whole folds, evenly dealt, for arrays of powers of two, of 125 columns, and of 40 by 50.
SIDES: Final = (4096, 8192, 9600, 12000, 16000)
# float32 values of the two streams whose difference shows bandwidth; the host runs them once.
STREAMS: Final = (1 << 20, 1 << 23)
_INTEGER: Final = ("int8", "int4")


class Probes(Protocol):
    """What the benchmark asks."""

    def product(self, arithmetic: str, side: int) -> Cost:
        """One product of two square matrices of ``side``."""

    def stream(self, elements: int) -> Cost:
        """Read and write so many float32 values, with next to no arithmetic."""

    def transposition(self, elements: int) -> Cost:
        """Move so many float32 values through the vector core, with no arithmetic at all."""

    def chain(self, nodes: int) -> Cost:
        """One launch of so many nodes that do nothing."""

    def idle(self) -> tuple[float, float]:
        """Joules that the VF drew so far while idle, and seconds that it was."""


def one_node(op: str, elements: int) -> bytes:
    """A model of one node that takes and gives a float32 matrix of so many elements."""
    return chained(op, 1, elements)


def chained(op: str, nodes: int, elements: int) -> bytes:
    """A model of a chain of nodes, each of which takes what the one before gave."""
    from onnx import TensorProto, helper

    rows = 1 << (int(math.log2(elements)) // 2)
    shape = [rows, elements // rows]
    names = [f"v{index}" for index in range(nodes + 1)]
    graph = helper.make_graph(
        [helper.make_node(op, [a], [b]) for a, b in pairwise(names)],
        op,
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, ["rows", "columns"])],
    )
    opset = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


class DeviceProbes:
    """Asks an open device; ``idle_joules`` and ``seconds`` come from who meters it."""

    def __init__(self, device: vaccel.Device, meter: Meter) -> None:
        self._device = device
        self._meter = meter

    def product(self, arithmetic: str, side: int) -> Cost:
        """See ``Probes``."""
        kind = DType.INT8 if arithmetic in _INTEGER else DType.FLOAT32
        asked = {} if arithmetic == "fp32" else {"arithmetic": arithmetic}
        port = Port("", kind, (side, side))
        model = self._device.kernel("matmul", port, port, **asked)
        operand = Tensor(kind, (side, side))
        try:
            return model.estimate(operand, operand)
        finally:
            model.unload()

    def stream(self, elements: int) -> Cost:
        """See ``Probes``."""
        return self._estimate(one_node("Relu", elements))

    def transposition(self, elements: int) -> Cost:
        """See ``Probes``."""
        return self._estimate(one_node("Transpose", elements))

    def chain(self, nodes: int) -> Cost:
        """See ``Probes``; this one is launched."""
        model = self._device.load(chained("Identity", nodes, 4))
        try:
            return model(np.zeros((2, 2), np.float32)).cost
        finally:
            model.unload()

    def idle(self) -> tuple[float, float]:
        """See ``Probes``."""
        return self._meter()

    def _estimate(self, built: bytes) -> Cost:
        model = self._device.load(built)
        try:
            (port,) = model.inputs
            shape = tuple(int(dim or 0) for dim in port.shape or ())
            return model.estimate(Tensor(port.dtype, shape))
        finally:
            model.unload()


class Meter(Protocol):
    """Who knows what a VF drew."""

    def __call__(self) -> tuple[float, float]:
        """Joules drawn while idle, and seconds of idling, since some moment."""
