"""Integer products that are exact on any CPU.

    sum over k of (A[m, k] - za) * (B[k, n] - zb), modulo 2^32 as an int32

The CPU's own 8-bit kernels may saturate pairs of products at 16 bits where it lacks VNNI.
Floating-point ones do not: a float32 holds every integer up to 2^24, so that a block of K whose
sums of absolute products stay within it is exact whatever the order of the additions and with or
without fused multiply-add. Blocks are added in float64, which holds every integer up to 2^53:
enough for K up to 2^53 / 255^2, 138 thousand million. The sum is then taken modulo 2^32, which is
what an int32 accumulator holds that wraps around at each step.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vaccel.errors import HostFault, InvalidArgument
from vaccel.model import Array

_FLOAT32_EXACT: Final = 1 << 24
_INT32_LIMIT: Final = 1 << 31


def largest(values: Array, zero: NDArray[np.int64]) -> int:
    """The largest |value - zero| that these types allow."""
    limits = np.iinfo(np.int8 if values.dtype == np.int8 else np.uint8)
    low, high = int(limits.min) - int(zero.max()), int(limits.max) - int(zero.min())
    return max(-low, high, 1)


def _check(values: Array, name: str) -> None:
    if values.dtype not in (np.int8, np.uint8):
        raise InvalidArgument(
            f"{name} is {values.dtype}", hint="an exact product takes int8 and uint8"
        )


def _zero(zero: Array | None, axis: int, name: str) -> NDArray[np.int64]:
    """A zero point, shaped to subtract along its axis: -2 is M of the left side, -1 N of the
    right.
    """
    if zero is None:
        return np.zeros((), np.int64)
    if zero.size == 0:
        raise InvalidArgument(f"{name} is empty")
    wide = np.asarray(zero, np.int64)
    if wide.size == 1:
        return wide.reshape(())
    return wide[:, None] if wide.ndim == 1 and axis == -2 else wide


def exact_matmul(
    left: Array, right: Array, left_zero: Array | None = None, right_zero: Array | None = None
) -> NDArray[np.int32]:
    """[..., M, K] by [..., K, N] of int8 or uint8 to int32 [..., M, N], with NumPy's
    broadcasting.

    A zero point is a scalar, per row [M] (left) or per column [N] (right), or broadcasts. Raises
    InvalidArgument naming types and shapes that do not fit.
    """
    _check(left, "the left side")
    _check(right, "the right side")
    za, zb = (
        _zero(left_zero, -2, "the left zero point"),
        _zero(right_zero, -1, "the right zero point"),
    )
    limit = largest(left, za) * largest(right, zb)
    a = left.astype(np.float32)
    b = right.astype(np.float32)
    try:
        if za.any():
            a -= za.astype(np.float32)
        if zb.any():
            b -= zb.astype(np.float32)
        return wrap(exact_sums(a, b, limit), limit * (left.shape[-1] if left.ndim else 1))
    except ValueError as error:
        raise InvalidArgument(
            f"shapes {list(left.shape)} and {list(right.shape)}, zero points {list(za.shape)} and"
            f" {list(zb.shape)}, do not multiply"
        ) from error


def exact_sums(a: NDArray[np.float32], b: NDArray[np.float32], limit: int) -> NDArray[Any]:
    """The exact product of integers held in float32, as float32 or float64.

    ``limit`` is the largest absolute product of two elements. Raises ValueError where shapes do
    not multiply.
    """
    depth = a.shape[-1] if a.ndim else 0
    block = max(1, _FLOAT32_EXACT // limit)
    if depth <= block or b.ndim == 0:
        return np.asarray(np.matmul(a, b))
    along = -1 if b.ndim == 1 else -2
    if b.shape[along] != depth:
        raise ValueError
    total: NDArray[np.float64] | None = None
    for start in range(0, depth, block):
        piece = slice(start, start + block)
        part = np.matmul(a[..., piece], b[piece] if b.ndim == 1 else b[..., piece, :])
        if total is None:
            total = part.astype(np.float64)
        else:
            total += part
    return np.asarray(total)


def wrap(sums: NDArray[Any], limit: int) -> NDArray[np.int32]:
    """Exact sums modulo 2^32; ``limit`` is the largest that a sum can be."""
    if limit < _INT32_LIMIT:
        return sums.astype(np.int32)
    return sums.astype(np.int64).astype(np.int32)


def integer_reference(left: Array, right: Array) -> NDArray[np.int32]:
    """The definition, in integer arithmetic throughout; slow."""
    products = left.astype(np.int64)[..., :, :, None] * right.astype(np.int64)[..., None, :, :]
    sums: NDArray[np.int64] = products.sum(axis=-2)
    return sums.astype(np.int32)


def self_test() -> None:
    """Prove on this CPU and BLAS that the product is exact, at the extremes and across blocks.

    Raises HostFault. Takes about a millisecond.
    """
    random = np.random.default_rng(0)
    for left_type, right_type in ((np.int8, np.int8), (np.uint8, np.int8), (np.uint8, np.uint8)):
        for depth in (1, 257, 1300):
            low, high = np.iinfo(left_type), np.iinfo(right_type)
            left = random.integers(low.min, int(low.max) + 1, (3, depth)).astype(left_type)
            right = random.integers(high.min, int(high.max) + 1, (depth, 5)).astype(right_type)
            left[0], right[:, 0] = low.max, high.max
            left[1], right[:, 1] = low.min, high.min
            if not np.array_equal(exact_matmul(left, right), integer_reference(left, right)):
                raise HostFault(
                    f"integer products are not exact here ({left_type.__name__} by"
                    f" {right_type.__name__}, K = {depth})",
                    hint="NumPy's BLAS computes wrong sums on this CPU: install another build",
                )
