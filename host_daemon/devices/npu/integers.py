"""ONNX's quantised operations, exact: int32 accumulators, and one stated rounding on the way back
to 8 bits.

Requantising is float32 throughout, as ONNX's definition and ONNX Runtime have it: the accumulator
to float32, times scale(a) * scale(b) / scale(y), to the nearest integer with ties to even, plus
the zero point, clipped to the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.npu.convolution import convolve, window
from host_daemon.devices.npu.matmul import exact_matmul, exact_sums, largest, wrap
from vaccel.errors import InvalidArgument
from vaccel.model import Array


def _eight(values: Array | None, name: str) -> Array:
    if values is None or values.dtype not in (np.int8, np.uint8):
        given = "missing" if values is None else str(values.dtype)
        raise InvalidArgument(f"{name} is {given}", hint="it must be int8 or uint8")
    return values


def _per_channel(values: NDArray[Any], rank: int) -> NDArray[Any]:
    """A parameter per output channel [M], or a scalar, shaped to broadcast along the channels."""
    shape = () if values.size == 1 else (-1, *(1,) * rank)
    shaped: NDArray[Any] = np.reshape(values, shape)
    return shaped


def exact_convolution(
    data: Array | None,
    weight: Array | None,
    data_zero: Array | None,
    weight_zero: Array | None,
    attributes: Mapping[str, Any],
) -> NDArray[np.int32]:
    """ConvInteger: [N, C, ...] by [M, C/groups, ...] of 8 bits to int32. Padding is the zero
    point.
    """
    x, w = _eight(data, "convolution input"), _eight(weight, "convolution weight")
    moves = window(attributes, x.shape, w.shape)
    za = np.zeros((), np.int64) if data_zero is None else data_zero.astype(np.int64).reshape(())
    zb = np.zeros((), np.int64)
    if weight_zero is not None:
        zb = _per_channel(weight_zero, w.ndim - 1).astype(np.int64)
    limit = largest(x, za) * largest(w, zb)
    wide = x.astype(np.float32) - np.float32(za)
    sums = convolve(
        wide,
        w.astype(np.float32) - zb.astype(np.float32),
        moves,
        lambda tap, met: exact_sums(tap, met, limit),
        np.float64,
    )
    depth = int(np.prod(w.shape[1:]))
    return wrap(sums, limit * max(1, depth))


def _requantise(
    sums: NDArray[np.int32], scale: NDArray[np.float32], zero: Array | None
) -> NDArray[Any]:
    kind = np.uint8 if zero is None else zero.dtype.type
    if kind not in (np.int8, np.uint8):
        raise InvalidArgument(f"the result's zero point is {kind.__name__}, not int8 or uint8")
    limits = np.iinfo(np.int8 if kind is np.int8 else np.uint8)
    shift = np.float32(0) if zero is None else zero.astype(np.float32).reshape(())
    # A scale of NaN or infinity has no integer: it is clipped like any other value out of range.
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint(sums.astype(np.float32) * scale) + shift
        clipped = np.clip(np.nan_to_num(scaled, nan=0.0), limits.min, limits.max)
    result: NDArray[Any] = clipped.astype(kind)
    return result


def _scale(values: Array | None, name: str) -> NDArray[np.float32]:
    if values is None or values.size == 0:
        raise InvalidArgument(f"{name} is missing")
    return values.astype(np.float32)


def quantised_matmul(given: list[Array | None]) -> Array:
    """QLinearMatMul: a, its scale and zero point, b and its own, and the result's."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (*given, *(None,) * 8)[:8]
    sums = exact_matmul(_eight(a, "a"), _eight(b, "b"), a_zero, b_zero)
    left = _scale(a_scale, "a_scale")
    left = left[:, None] if left.ndim == 1 and left.size > 1 else left
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = left * _scale(b_scale, "b_scale") / _scale(y_scale, "y_scale")
    return _requantise(sums, np.asarray(scale, np.float32), y_zero)


def quantised_convolution(given: list[Array | None], attributes: Mapping[str, Any]) -> Array:
    """QLinearConv: x, w and y with scale and zero point each, and an int32 bias."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = (*given, *(None,) * 9)[:9]
    sums = exact_convolution(x, w, x_zero, w_zero, attributes)
    rank = sums.ndim - 2
    if bias is not None:
        # In int32, wrapping around as the accumulator does.
        sums = sums + bias.astype(np.int32).reshape(-1, *(1,) * rank)
    weights = _per_channel(_scale(w_scale, "w_scale"), rank)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = _scale(x_scale, "x_scale") * weights / _scale(y_scale, "y_scale")
    return _requantise(sums, np.asarray(scale, np.float32), y_zero)
