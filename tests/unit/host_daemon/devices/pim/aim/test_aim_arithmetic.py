"""AiM's numbers, against integers: no float is added, multiplied or rounded in the reference."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from host_daemon.devices.pim.aim.activation import FUNCTIONS, activate, table
from host_daemon.devices.pim.aim.arithmetic import (
    ALIGNED_BITS,
    _in_float64,
    gemv,
    multiply,
    rounded,
)

BF16, F32 = (8, -133), (24, -149)  # significant bits, exponent of the smallest number
TOP = 128  # infinity begins at 2 to this


class Odd:
    """NaN and the infinities, which are no integer times a power of two."""

    def __init__(self, name: str) -> None:
        self.name = name


NAN, PLUS, MINUS = Odd("nan"), Odd("inf"), Odd("-inf")
Number = tuple[int, int] | Odd  # significand, exponent


def decode(bits: int, fraction_bits: int) -> Number:
    """A float of 8 exponent bits: value = significand * 2 ** exponent."""
    sign = -1 if bits >> (8 + fraction_bits) else 1
    exponent, fraction = bits >> fraction_bits & 255, bits & ((1 << fraction_bits) - 1)
    if exponent == 255:
        return NAN if fraction else PLUS if sign > 0 else MINUS
    if exponent == 0:
        return sign * fraction, 1 - 127 - fraction_bits
    return sign * (fraction | 1 << fraction_bits), exponent - 127 - fraction_bits


def fit(number: Number, form: tuple[int, int]) -> Number:
    """To the nearest number of a format, ties to even."""
    if isinstance(number, Odd) or number[0] == 0:
        return number
    value, exponent = number
    size, (bits, least) = abs(value), form
    drop = max(size.bit_length() - bits, least - exponent, 0)
    kept, rest = size >> drop, size & ((1 << drop) - 1)
    half = 1 << drop >> 1
    kept += drop > 0 and (rest > half or (rest == half and kept & 1))
    if kept and kept.bit_length() + exponent + drop > TOP:
        return PLUS if value > 0 else MINUS
    return (kept if value > 0 else -kept), exponent + drop


def add(left: Number, right: Number) -> Number:
    """Exactly."""
    if isinstance(left, Odd) or isinstance(right, Odd):
        odd = {each for each in (left, right) if isinstance(each, Odd)}
        return odd.pop() if len(odd) == 1 else NAN
    low = min(left[1], right[1])
    return (left[0] << (left[1] - low)) + (right[0] << (right[1] - low)), low


def times(left: Number, right: Number) -> Number:
    """Exactly."""
    if isinstance(left, Odd) or isinstance(right, Odd):
        if NAN in (left, right):
            return NAN
        signs = []
        for each in (left, right):
            if isinstance(each, Odd):
                signs.append(1 if each is PLUS else -1)
            elif each[0] == 0:
                return NAN
            else:
                signs.append(1 if each[0] > 0 else -1)
        return PLUS if signs[0] == signs[1] else MINUS
    return left[0] * right[0], left[1] + right[1]


def tree(products: list[Number]) -> Number:
    """All products shifted to the largest, what falls off cut off, and added."""
    odd = [each for each in products if isinstance(each, Odd)]
    if odd:
        total: Number = odd[0]
        for each in odd[1:]:
            total = add(total, each)
        return total
    sizes = [(abs(each[0]), each[1]) for each in products if not isinstance(each, Odd)]
    top = max((size.bit_length() + exponent for size, exponent in sizes if size), default=0)
    unit, whole = top - ALIGNED_BITS, 0
    for each in products:
        assert not isinstance(each, Odd)
        value, shift = abs(each[0]), unit - each[1]
        value = value >> shift if shift >= 0 else value << -shift
        whole += value if each[0] > 0 else -value
    return whole, unit


def reference(weights: list[int], inputs: list[int], start: int) -> Number:
    """The register, from the bits of bf16."""
    register = decode(start, 7)
    for first in range(0, len(weights), 16):
        group = zip(weights[first : first + 16], inputs[first : first + 16], strict=True)
        products = [times(decode(w, 7), decode(x, 7)) for w, x in group]
        register = fit(add(register, fit(tree(products), F32)), F32)
    return fit(register, BF16)


def same(given: float, expected: Number) -> bool:
    if isinstance(expected, Odd):
        return math.isnan(given) if expected is NAN else given == float(expected.name)
    bits = int(np.asarray(given, np.float32).view(np.uint32))
    number = decode(bits, 23)
    return not isinstance(number, Odd) and add(number, (-expected[0], expected[1]))[0] == 0  # type: ignore[index]


def values(bits: NDArray[np.uint16]) -> NDArray[Any]:
    return bits.view(ml_dtypes.bfloat16).astype(np.float32)


def near_one(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    numbers = random.standard_normal(shape) * 2.0 ** random.integers(-12, 13, shape)
    return numbers.astype(ml_dtypes.bfloat16).view(np.uint16)


def any_bits(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """All of bf16: subnormals, infinities and NaN among them."""
    found = random.integers(0, 1 << 16, shape).astype(np.uint16)
    few = random.integers(0, 12, shape)
    found[few == 0] &= 0x807F  # subnormals and zeros
    found[few == 1] = 0x7F80  # infinity
    return found


def rarely_odd(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    found = random.integers(0, 1 << 16, shape).astype(np.uint16)
    found[(found & 0x7F80) == 0x7F80] &= 0xFF7F  # finite
    found[random.integers(0, 200, shape) == 0] = 0xFF80
    return found


@pytest.mark.parametrize("make", [near_one, any_bits, rarely_odd])
@pytest.mark.parametrize("size", [1, 16, 50, 129])
def test_equal_to_the_integers_to_the_bit(make: Any, size: int) -> None:
    random = np.random.default_rng(size)
    n = 24
    weights, inputs, start = make(random, (size, n)), make(random, (size,)), make(random, (n,))
    given = gemv(values(weights), values(inputs), values(start))
    for column in range(n):
        expected = reference(weights[:, column].tolist(), inputs.tolist(), int(start[column]))
        assert same(float(given[column]), expected), (column, given[column], expected)


def test_blocks_of_outputs_do_not_show() -> None:
    random = np.random.default_rng(5)
    weights, inputs = values(near_one(random, (40, 2500))), values(near_one(random, (40,)))
    whole = gemv(weights, inputs)
    assert np.array_equal(whole[1000:1100], gemv(weights[:, 1000:1100], inputs))


def test_the_short_way_and_the_wide_one_agree() -> None:
    random = np.random.default_rng(8)
    for scale in (0, -60, -100, 63):  # the last ones leave float32 on the way
        weights = values(near_one(random, (96, 50))) * np.float32(2.0**scale)
        inputs = values(near_one(random, (96,)))
        given = gemv(weights, inputs * np.float32(2.0**scale))
        vector = rounded(inputs * np.float32(2.0**scale)).astype(np.float64)
        with np.errstate(all="ignore"):
            wide = _in_float64(rounded(weights), vector[:, None], np.zeros(50, np.float32))
        assert given.view(np.uint32).tolist() == rounded(wide).view(np.uint32).tolist()


def test_what_alignment_cuts_off_is_lost() -> None:
    """2 ** -24 beside 1 falls off the shifter; alone in its group it is kept."""
    inputs = np.zeros(32, np.float32)
    inputs[0], inputs[1] = 1, 2.0**-24
    ones = np.ones((32, 1), np.float32)
    assert gemv(ones, inputs, np.array([-1.0]))[0] == 0
    inputs[1], inputs[16] = 0, 2.0**-24
    apart = gemv(ones[::-1], inputs[::-1].copy(), np.array([0.0]))[0]
    assert apart == 1


def test_results_are_bf16() -> None:
    random = np.random.default_rng(6)
    weights, inputs = random.standard_normal((300, 40)), random.standard_normal(300)
    given = gemv(weights, inputs)
    assert np.array_equal(given, rounded(given))
    exact = rounded(weights).T.astype(float) @ rounded(inputs).astype(float)
    assert np.allclose(given, exact, rtol=2**-8, atol=1e-4)


def test_element_wise_products_round_once() -> None:
    random = np.random.default_rng(7)
    left, right = any_bits(random, (5000,)), any_bits(random, (5000,))
    given = multiply(values(left), values(right))
    for index in range(5000):
        expected = fit(times(decode(int(left[index]), 7), decode(int(right[index]), 7)), BF16)
        assert same(float(given[index]), expected)


EXACT = {
    "Sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "Tanh": math.tanh,
    "Gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "Relu": lambda x: max(x, 0.0),
    "LeakyRelu": lambda x: x if x > 0 else 0.01 * x,
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_near_the_true_ones(name: str) -> None:
    x = rounded(np.linspace(-12, 12, 4001))
    exact = np.array([EXACT[name](float(each)) for each in x])
    given = activate(name, x)
    assert np.array_equal(given, rounded(given))
    # The table and the result are rounded, each by half a bf16 step.
    assert np.all(np.abs(given - exact) <= 2**-7 * np.maximum(np.abs(exact), 0.05))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_at_the_ends(name: str) -> None:
    given = activate(name, np.array([np.nan, np.inf, 8.0, 100.0, -100.0]))
    assert np.isnan(given[0])
    bounded = name in ("Sigmoid", "Tanh")
    assert given[1] == (1 if bounded else np.inf)
    assert list(given[2:4]) == ([1, 1] if bounded else [8, 100])
    assert given[4] == {"Tanh": -1, "LeakyRelu": -1}.get(name, 0)


def test_a_table_fills_one_row() -> None:
    for name in ("Sigmoid", "Tanh", "Gelu"):
        base, slope = table(name)
        assert base.size + slope.size == 1024
