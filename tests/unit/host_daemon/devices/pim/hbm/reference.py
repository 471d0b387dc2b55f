"""FP16 by integers alone: slow, obvious, and no float anywhere.

A finite half is sign * fraction * 2^exponent with whole fraction; sums and products of such numbers
are exact in Python's integers, and ``_rounded`` is the one place that rounds.
"""

from __future__ import annotations

INFINITY, NAN = 0x7C00, 0x7E00


def _split(bits: int) -> tuple[int, int]:
    """(signed fraction, exponent) of a finite half."""
    exponent, fraction = bits >> 10 & 31, bits & 1023
    value = fraction if exponent == 0 else fraction | 1024
    return (-value if bits >> 15 else value), max(exponent, 1) - 25


def _is_nan(bits: int) -> bool:
    return bits & 0x7FFF > INFINITY


def _is_infinite(bits: int) -> bool:
    return bits & 0x7FFF == INFINITY


def _rounded(value: int, exponent: int, zero_sign: int) -> int:
    """value * 2^exponent to nearest, ties to even."""
    if value == 0:
        return zero_sign << 15
    sign, size = (1, -value) if value < 0 else (0, value)
    # The last bit of the result weighs 2^last: eleven bits, or 2^-24 where it is subnormal.
    last = max(exponent + size.bit_length() - 11, -24)
    shift = last - exponent
    if shift > 0:
        whole, rest = size >> shift, size & ((1 << shift) - 1)
        half = 1 << (shift - 1)
        whole += rest > half or (rest == half and whole & 1)
    else:
        whole = size << -shift
    if whole == 2048:
        whole, last = 1024, last + 1
    if whole < 1024:
        return sign << 15 | whole
    field = last + 25
    return sign << 15 | (INFINITY if field > 30 else field << 10 | whole & 1023)


def multiply(left: int, right: int) -> int:
    """The product of two halves, as bits."""
    if _is_nan(left) or _is_nan(right):
        return NAN
    sign = (left ^ right) >> 15
    if _is_infinite(left) or _is_infinite(right):
        zero = left & 0x7FFF == 0 or right & 0x7FFF == 0
        return NAN if zero else sign << 15 | INFINITY
    (a, ea), (b, eb) = _split(left), _split(right)
    return _rounded(a * b, ea + eb, sign)


def add(left: int, right: int) -> int:
    """The sum of two halves, as bits."""
    if _is_nan(left) or _is_nan(right):
        return NAN
    if _is_infinite(left) or _is_infinite(right):
        if _is_infinite(left) and _is_infinite(right) and left != right:
            return NAN
        return left if _is_infinite(left) else right
    (a, ea), (b, eb) = _split(left), _split(right)
    low = min(ea, eb)
    # Only two negative zeros make a negative one.
    both = left >> 15 & right >> 15 & 1
    return _rounded((a << (ea - low)) + (b << (eb - low)), low, both)


def gemv(weights: list[list[int]], vector: list[int]) -> list[int]:
    """Lane k mod 16; even tiles of 128 inputs, then odd ones; lanes added in order from zero."""
    inputs = len(vector)
    tiles = range(-(-inputs // 128))
    order = [t for t in tiles if t % 2 == 0] + [t for t in tiles if t % 2]
    found = []
    for row in weights:
        lanes = [0] * 16
        for tile in order:
            for k in range(tile * 128, min(tile * 128 + 128, inputs)):
                lanes[k % 16] = add(multiply(row[k], vector[k]), lanes[k % 16])
        total = 0
        for lane in lanes:
            total = add(total, lane)
        found.append(total)
    return found
