"""What a processing unit of AiM computes, to the bit.

Published: a processing unit a bank, multiplying bf16 at 1 GHz (S. Lee et al., ISSCC 2022), 256 bits
of weights a command; a mantissa shift that is bank-wide (D. Kwon et al., JSSC 2023, abstract), so
that products are aligned to one exponent before they are added; registers that are written and
read in 16 bits (the public simulator). Widths are not in what is freely readable. Taken here, and
stated wherever it is shown:

1. Products are exact: 8 by 8 bits of significand.
2. Of the 16 products the largest sets the exponent. All are kept to ``ALIGNED_BITS`` bits below it;
   what is shifted out is cut off (towards zero), as a shifter does.
3. The tree's sum is exact; it is rounded to float32 as it enters the accumulator, which is float32.
   Rounding is to nearest, ties to even.
4. Reading the register rounds to bf16, likewise.

Subnormal numbers are numbers. NaN stays NaN; infinities of both signs among 16 products make NaN.
"""

from __future__ import annotations

from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LANES: Final = 16
# As wide as float32's significand, so that aligning loses no more than a float32 sum would.
ALIGNED_BITS: Final = 24
# Outputs computed at once: their 16 products each stay in a core's cache.
_BLOCK: Final = 2048


def rounded(values: NDArray[Any]) -> Floats:
    """Values to bf16, in float32."""
    if values.dtype == np.float32 and not np.any(values.view(np.uint32) & 0xFFFF):
        return np.asarray(values)  # bf16 already
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values.astype(ml_dtypes.bfloat16).astype(np.float32))


def multiply(left: NDArray[Any], right: NDArray[Any]) -> Floats:
    """Element-wise product: operands in bf16, the exact product rounded once."""
    with np.errstate(over="ignore", invalid="ignore"):
        # Exact in float64: from there one rounding, not two.
        product = rounded(left).astype(np.float64) * rounded(right).astype(np.float64)
        return np.asarray(product.astype(ml_dtypes.bfloat16).astype(np.float32))


def gemv(weights: NDArray[Any], inputs: NDArray[Any], start: NDArray[Any] | None = None) -> Floats:
    """The MAC registers after (K, N) weights and (K,) inputs, read as bf16; (N,).

    ``start`` is what the registers held before, (N,).
    """
    k, n = weights.shape
    padded = -(-k // LANES) * LANES
    vector = np.zeros(padded, np.float32)
    vector[:k] = rounded(inputs)
    result = np.zeros(n, np.float32)
    if start is not None:
        result[:] = rounded(start)
    for first in range(0, n, _BLOCK):
        block = slice(first, min(first + _BLOCK, n))
        matrix = np.zeros((padded, block.stop - first), np.float32)
        matrix[:k] = rounded(weights[:, block])
        result[block] = accumulate(matrix, vector, result[block])
    return rounded(result)


def accumulate(matrix: Floats, vector: Floats, start: Floats) -> Floats:
    """The registers (N,), in float32, once all groups of 16 rows have been added to them in order.

    ``matrix`` is (K, N) of bf16 values in float32, K a multiple of 16; ``vector`` (K,), or (K, N)
    where each column has its own.
    """
    if vector.ndim == 1:
        vector = vector[:, None]
    if np.isfinite(matrix).all() and np.isfinite(vector).all() and np.isfinite(start).all():
        try:
            return _in_float32(matrix, vector, start.copy())
        except FloatingPointError:
            pass  # a product is beyond float32: the wide way is exact for all
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _in_float64(matrix, vector.astype(np.float64), start.copy())


def _in_float32(matrix: Floats, vector: Floats, sums: Floats) -> Floats:
    """Products of bf16 are exact in float32 unless they over- or underflow.

    Raises FloatingPointError where one does, or a sum.
    """
    products = np.empty((LANES, matrix.shape[1]), np.float32)
    scratch, whole = np.empty_like(products), np.empty(products.shape, np.int32)
    with np.errstate(over="raise", under="raise", invalid="raise"):
        for row in range(0, len(vector), LANES):
            lanes = slice(row, row + LANES)
            np.multiply(matrix[lanes], vector[lanes], out=products)
            np.abs(products, out=scratch)
            shift = _shift(np.maximum.reduce(scratch, axis=0))
            # As it becomes an integer, what is behind the point is cut off.
            scale = np.ldexp(np.float32(1), shift)
            np.multiply(products, scale, out=whole, casting="unsafe")
            total = np.add.reduce(whole, axis=0, dtype=np.int32).astype(np.float64)
            sums += np.ldexp(total, -shift).astype(np.float32)
    return sums


def _shift(largest: NDArray[Any]) -> NDArray[np.int32]:
    """By how many powers of two products grow so that their last kept bit is 1."""
    return np.asarray(ALIGNED_BITS - np.frexp(largest)[1], np.int32)


def _in_float64(matrix: Floats, vector: NDArray[np.float64], sums: Floats) -> Floats:
    """The same for all numbers of bf16."""
    products = np.empty((LANES, matrix.shape[1]), np.float64)
    scratch = np.empty_like(products)
    for row in range(0, len(vector), LANES):
        lanes = slice(row, row + LANES)
        np.multiply(matrix[lanes], vector[lanes], out=products)
        special = _take_special(products)
        total = _tree(products, scratch)
        total = np.where(special == 0, total, special)
        sums += total.astype(np.float32)
    return sums


def _tree(products: NDArray[np.float64], scratch: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of 16 finite products in each column, aligned to the largest. Overwrites both."""
    np.abs(products, out=scratch)
    shift = _shift(np.maximum.reduce(scratch, axis=0))
    np.multiply(products, np.ldexp(1.0, shift), out=products)
    np.trunc(products, out=products)
    # An integer zero has no sign.
    return np.asarray(np.ldexp(np.add.reduce(products, axis=0) + 0.0, -shift))


def _take_special(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of those products that are NaN or infinite, which become 0 in place; else 0."""
    finite = np.isfinite(products)
    found = np.add.reduce(np.where(finite, 0.0, products), axis=0)
    products[~finite] = 0.0
    return np.asarray(found)
