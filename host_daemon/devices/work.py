"""What an operation that is no GEMM asks of whatever runs it, by how many elements it touches.

``operations`` counts fp32 lane operations. The figures per element are those of polynomial
kernels as vector units run them (range reduction, a polynomial of degree 5 to 7, reconstruction:
about ten operations for Exp; one division is four Newton-Raphson steps); they are estimates, good
to a factor of two, and named so in ``docs/devices/npu.md``. Kinds whose
arrays leave such operations to a vector core, or to the host, share them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from host_daemon.core.device import Operation
from host_daemon.devices.contraction import multiplies
from vaccel.model import DType, Shape


def _names(text: str) -> list[str]:
    return text.split()


# Nothing moves: another view of the same bytes, or known when the program was compiled.
FREE: Final = frozenset(
    _names(
        "Identity Reshape Shape Size Constant Squeeze Unsqueeze Flatten Dropout If Loop Scan"
        " Optional OptionalGetElement OptionalHasElement SequenceConstruct SequenceEmpty"
        " SequenceAt SequenceLength SequenceInsert SequenceErase"
    )
)
# Bytes move, nothing is computed.
MOVE: Final = frozenset(
    _names(
        "Transpose Concat Split Slice Gather GatherElements GatherND Scatter ScatterElements"
        " ScatterND Expand Tile Pad DepthToSpace SpaceToDepth Cast CastLike ConstantOfShape"
        " EyeLike Range ConcatFromSequence SplitToSequence ReverseSequence Compress Where"
        " Trilu NonZero CenterCropPad BitCast TensorScatter Col2Im ImageDecoder"
    )
)
# Operations for each element, where it is not one.
PER_ELEMENT: Final[Mapping[str, float]] = {
    **dict.fromkeys(_names("Div Reciprocal Sqrt Mod HardSwish Mish BitShift"), 4.0),
    **dict.fromkeys(_names("Exp Log Sigmoid Tanh Sin Cos Softplus Elu Selu Celu Swish"), 10.0),
    **dict.fromkeys(_names("Erf Gelu FastGelu BiasGelu QuickGelu Pow Tan Sinh Cosh"), 16.0),
    **dict.fromkeys(_names("Asin Acos Atan Asinh Acosh Atanh Det"), 20.0),
    **dict.fromkeys(_names("Softmax LogSoftmax SoftmaxCrossEntropyLoss"), 14.0),
    **dict.fromkeys(_names("LayerNormalization SkipLayerNormalization GroupNormalization"), 8.0),
    **dict.fromkeys(_names("InstanceNormalization MeanVarianceNormalization LpNormalization"), 8.0),
    **dict.fromkeys(_names("RMSNormalization SimplifiedLayerNormalization RotaryEmbedding"), 6.0),
    **dict.fromkeys(_names("BatchNormalization QuantizeLinear DequantizeLinear ReduceL2"), 2.0),
    **dict.fromkeys(_names("ReduceSumSquare ReduceL1 Clip Mean PRelu LeakyRelu"), 2.0),
    **dict.fromkeys(_names("ReduceLogSum ReduceLogSumExp DynamicQuantizeLinear HardSigmoid"), 4.0),
    **dict.fromkeys(_names("Resize Upsample GridSample RoiAlign AffineGrid LRN"), 16.0),
    **dict.fromkeys(_names("RandomNormal RandomNormalLike Bernoulli Multinomial"), 20.0),
    **dict.fromkeys(_names("NonMaxSuppression StringNormalizer TfIdfVectorizer"), 32.0),
}
# n log2 n over the longest axis.
SORTING: Final = frozenset(_names("TopK Sort Unique DFT STFT"))
# Each output element is made of a window of the input.
POOLING: Final = frozenset(_names("MaxPool AveragePool LpPool MaxUnpool QLinearAveragePool"))


@dataclass(frozen=True, slots=True)
class Work:
    """Lane operations, and bytes read and written."""

    operations: int
    bytes_read: int
    bytes_written: int


def elements(value: tuple[DType, Shape] | None) -> int:
    """Elements of a tensor; none of an absent one."""
    return math.prod(value[1]) if value else 0


def size(value: tuple[DType, Shape] | None) -> int:
    """Bytes of a tensor; strings count by their references, eight bytes each."""
    return elements(value) * (value[0].itemsize or 8) if value else 0


def _window(attributes: Mapping[str, Any]) -> int:
    return math.prod(int(side) for side in attributes.get("kernel_shape", ()) or (1,))


def _operations(operation: Operation) -> float:
    inputs = max((elements(each) for each in operation.inputs), default=0)
    outputs = max((elements(each) for each in operation.outputs), default=0)
    if operation.op in POOLING:
        return outputs * _window(operation.attributes)
    if operation.op in SORTING:
        longest = max((max(each[1], default=1) for each in operation.inputs if each), default=1)
        return max(inputs, outputs) * max(1.0, math.log2(max(longest, 2)))
    if operation.op in MOVE:
        return 0
    if operation.op == "Einsum":
        return 2 * multiplies(operation)
    return max(inputs, outputs) * PER_ELEMENT.get(operation.op, 1.0)


def work(operation: Operation) -> Work:
    """What an operation asks of the vector core. Every op has an answer."""
    if operation.op in FREE and operation.domain in ("", "ai.onnx"):
        return Work(0, 0, 0)
    written = sum(size(each) for each in operation.outputs)
    read = sum(size(each) for each in operation.inputs)
    if operation.op in ("Gather", "GatherElements", "GatherND", "Slice", "Split"):
        # Only what is picked is read, and the indices.
        indices = sum(size(each) for each in operation.inputs[1:])
        read = min(read, written + indices)
    return Work(math.ceil(_operations(operation)), read, written)
