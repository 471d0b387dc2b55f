"""Which operands decide shapes and paths: the table behind the analysis.

A launch's cost depends on its shapes, and on the values of those inputs that *steer*: values which
reach the condition of an ``If``, the trip count of a ``Loop``, or an operand below, that decides a
shape. Source: the operator documents of ONNX (https://onnx.ai/onnx/operators/), every operand by
which the shape of a result is computed from a value.
"""

from __future__ import annotations

from typing import Final

from onnx import NodeProto

ALL: Final = frozenset(range(1 << 12))


def _at(*indices: int) -> frozenset[int]:
    return frozenset(indices)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REDUCTIONS: Final = _words(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd"
    " ReduceSum ReduceSumSquare"
)

_STEERED: Final[dict[str, frozenset[int]]] = {
    **dict.fromkeys(_REDUCTIONS, _at(1)),
    "AffineGrid": _at(1),
    "BlackmanWindow": _at(0),
    "CenterCropPad": _at(1),
    "Col2Im": _at(1, 2),
    "Compress": _at(1),
    "ConstantOfShape": _at(0),
    "DFT": _at(1, 2),
    "Expand": _at(1),
    "HammingWindow": _at(0),
    "HannWindow": _at(0),
    "ImageDecoder": _at(0),
    "MaxUnpool": _at(2),
    "MelWeightMatrix": _at(0, 1),
    "NonMaxSuppression": ALL,
    "NonZero": _at(0),
    "OneHot": _at(1),
    "Pad": _at(1, 3),
    "Range": ALL,
    "Reshape": _at(1),
    "Resize": _at(1, 2, 3),
    "SequenceAt": _at(1),
    "SequenceErase": _at(1),
    "SequenceInsert": _at(2),
    "Slice": _at(1, 2, 3, 4),
    "Split": _at(1),
    "SplitToSequence": _at(1),
    "Squeeze": _at(1),
    "STFT": _at(1, 3),
    "StringNormalizer": _at(0),
    "StringSplit": _at(0),
    "Tile": _at(1),
    "TopK": _at(1),
    "Unique": _at(0),
    "Unsqueeze": _at(1),
    "Upsample": _at(1),
}

# Contrib operators whose results' shapes follow from their operands' shapes alone.
_CONTRIB_BY_SHAPE: Final = _words(
    "Attention BiasGelu BiasSoftmax BiasSplitGelu DequantizeLinear DynamicQuantizeLSTM"
    " DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm FusedMatMul"
    " FusedMatMulActivation Gelu GroupNorm GroupQueryAttention Inverse MatMulBnb4"
    " MatMulInteger16 MatMulIntegerToFloat MatMulNBits MultiHeadAttention NhwcMaxPool QAttention"
    " QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool"
    " QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QLinearWhere QMoE QuantizeLinear"
    " QuickGelu RelativePositionBias RotaryEmbedding SimplifiedLayerNormalization"
    " SkipLayerNormalization SkipSimplifiedLayerNormalization TransposeMatMul"
)

RANDOM_OPS: Final = _words(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
)


def steering_operands(node: NodeProto) -> frozenset[int]:
    """Indices of the inputs whose values decide the shapes of what the node gives."""
    if node.domain in ("", "ai.onnx"):
        return _STEERED.get(node.op_type, frozenset())
    if node.domain == "ai.onnx.ml" or node.op_type in _CONTRIB_BY_SHAPE:
        return frozenset()
    return ALL


def is_random(node: NodeProto) -> bool:
    """Whether two runs of the node differ."""
    return node.op_type in RANDOM_OPS or (node.op_type == "Dropout" and len(node.input) > 2)
