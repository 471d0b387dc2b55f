"""How each kernel is drawn: mostly one node, with settings as attributes or constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from host_daemon.compiler.kernels import ordering, windows
from host_daemon.compiler.kernels.draft import Draft
from host_daemon.compiler.kernels.elementwise import ELEMENTWISE
from host_daemon.compiler.kernels.sequences import SEQUENCES
from vaccel.model import DType

Drawing = Callable[[Draft], None]
_BYTES: Final = (DType.INT8, DType.UINT8)


def _matmul(draft: Draft) -> None:
    left, right = draft.given(*(operand.name for operand in draft.kernel.operands))
    integers = draft.dtype(left) in _BYTES
    draft.node("MatMulInteger" if integers else "MatMul", [left, right])
    draft.state()


def _linear(draft: Draft) -> None:
    draft.node("Gemm", draft.given("x", "weight", "bias"), transB=1)
    draft.state()


def _reduce(op: str) -> Drawing:
    def draw(draft: Draft) -> None:
        axes = draft.ints("axes")
        inputs = ["x", draft.integers("axes", axes)] if axes else ["x"]
        draft.node(op, inputs, keepdims=draft.integer("keepdims"))

    return draw


def _position(op: str) -> Drawing:
    def draw(draft: Draft) -> None:
        draft.node(op, ["x"], axis=draft.integer("axis"), keepdims=draft.integer("keepdims"))

    return draw


def _along(op: str) -> Drawing:
    return lambda draft: draft.node(op, ["x"], axis=draft.integer("axis"))


def _cumsum(draft: Draft) -> None:
    import numpy as np

    draft.node("CumSum", ["x", draft.constant("axis", np.array(draft.integer("axis"), np.int64))])


def _layer_norm(draft: Draft) -> None:
    inputs = draft.given("x", "scale", "bias")
    draft.node("LayerNormalization", inputs, axis=-1, epsilon=draft.number("epsilon"))


def _rms_norm(draft: Draft) -> None:
    draft.opset = 23
    draft.node("RMSNormalization", ["x", "scale"], axis=-1, epsilon=draft.number("epsilon"))


def _batch_norm(draft: Draft) -> None:
    inputs = ["x", "scale", "bias", "mean", "variance"]
    draft.node("BatchNormalization", inputs, epsilon=draft.number("epsilon"))


def _group_norm(draft: Draft) -> None:
    draft.node(
        "GroupNormalization",
        ["x", "scale", "bias"],
        num_groups=draft.integer("groups"),
        epsilon=draft.number("epsilon"),
    )


def _plain(op: str, *inputs: str) -> Drawing:
    return lambda draft: draft.node(op, inputs)


DRAWINGS: Final[Mapping[str, Drawing]] = {
    "matmul": _matmul,
    "batched_matmul": _matmul,
    "gemv": _matmul,
    "linear": _linear,
    **windows.WINDOWS,
    **ELEMENTWISE,
    **SEQUENCES,
    **ordering.ORDERING,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_mean": _reduce("ReduceMean"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_prod": _reduce("ReduceProd"),
    "reduce_l2": _reduce("ReduceL2"),
    "reduce_log_sum_exp": _reduce("ReduceLogSumExp"),
    "argmax": _position("ArgMax"),
    "argmin": _position("ArgMin"),
    "cumsum": _cumsum,
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "quantize": _plain("QuantizeLinear", "x", "scale", "zero"),
    "dequantize": _plain("DequantizeLinear", "x", "scale", "zero"),
}
