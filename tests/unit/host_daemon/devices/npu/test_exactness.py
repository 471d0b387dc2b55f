"""Random shapes against the definition of the arithmetic: 10,000 of integers, which are exact, and
5,000 of floats, which are rounded where ``rounding`` says, by ``ml_dtypes``, and nowhere else.

One number names a shape, the operands' types and their values. Hypothesis draws a tenth of the
numbers, and shrinks a failure to the smallest one that shows it; the others are spread evenly,
because drawing one costs ten times what its product costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host_daemon.core.device import Operation
from host_daemon.devices.npu import common
from host_daemon.devices.npu.device import ARITHMETIC
from host_daemon.devices.npu.kernels import own
from vaccel.model import DType

INTEGERS = [("int8", "int8"), ("uint8", "int8"), ("uint8", "uint8"), ("int8", "int4")]
FORMATS = {
    "bf16": (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    "fp16": (np.float16, np.float16),
    "fp8_e4m3": (ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16),
    "fp8_e5m2": (ml_dtypes.float8_e5m2, ml_dtypes.bfloat16),
}
many = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Case:
    """M, K, N, what is drawn from ``kinds``, extremes or not, and the rest of the chance."""

    m: int
    k: int
    n: int
    kind: int
    extreme: bool
    random: np.random.Generator


def case(number: int) -> Case:
    rest, m = divmod(number, 12)
    rest, n = divmod(rest, 12)
    rest, kind = divmod(rest, 4)
    rest, extreme = divmod(rest, 2)
    rest, deep = divmod(rest, 8)
    # One in eight crosses a block of exact float32 sums (257 products of int8).
    rest, k = divmod(rest, 900 if deep == 0 else 40)
    return Case(m + 1, k + 1, n + 1, kind, bool(extreme), np.random.default_rng(rest))


SPAN = 2**48
NUMBERS = st.integers(0, SPAN)


def spread(count: int) -> Iterator[int]:
    """So many numbers over the span, by the golden ratio: no divisor of a case is in step with it
    (H. Weyl 1916: its multiples are equidistributed)."""
    return ((at * 0x9E3779B97F4A7C15 >> 16) % SPAN for at in range(1, count + 1))


def integers(given_: Case, name: str, shape: tuple[int, int]) -> np.ndarray:
    low, high = (-8, 7) if name == "int4" else (np.iinfo(name).min, np.iinfo(name).max)
    kind = "int8" if name == "int4" else name
    if given_.extreme:
        return given_.random.choice(np.array([low, high], kind), shape)
    return given_.random.integers(low, high + 1, shape).astype(kind)


def run(op: str, inputs: list[np.ndarray], **attributes: object) -> np.ndarray:
    specs = tuple((DType(str(each.dtype)), each.shape) for each in inputs)
    asked = str(attributes.get(ARITHMETIC, "int8"))
    result = own(Operation(op, specs, (), attributes), inputs, asked)
    assert result is not None
    return np.asarray(result[0])


@settings(many, max_examples=1_000)
@given(NUMBERS)
def test_integer_products_equal_the_integers(number: int) -> None:
    check_integers(number)


def test_integer_products_equal_the_integers_all_over() -> None:
    for number in spread(9_000):
        check_integers(number)


def check_integers(number: int) -> None:
    drawn = case(number)
    left_name, right_name = INTEGERS[drawn.kind]
    left = integers(drawn, left_name, (drawn.m, drawn.k))
    right = integers(drawn, right_name, (drawn.k, drawn.n))
    arithmetic = "int4" if right_name == "int4" else "int8"
    result = run("MatMulInteger", [left, right], **{ARITHMETIC: arithmetic})
    assert result.dtype == np.int32
    expected = left.astype(np.int64) @ right.astype(np.int64)
    assert np.array_equal(result, expected), number


@settings(many, max_examples=500)
@given(NUMBERS)
def test_short_floats_are_rounded_as_ml_dtypes_does(number: int) -> None:
    check_floats(number)


def test_short_floats_are_rounded_as_ml_dtypes_does_all_over() -> None:
    for number in spread(4_500):
        check_floats(number)


def check_floats(number: int) -> None:
    drawn = case(number)
    name = list(FORMATS)[drawn.kind]
    taken, given_back = FORMATS[name]
    scale = 200.0 if drawn.extreme else 1.0
    left = drawn.random.normal(0, scale, (drawn.m, drawn.k)).astype(np.float32)
    right = drawn.random.normal(0, scale, (drawn.k, drawn.n)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = left.astype(taken).astype(np.float32) @ right.astype(taken).astype(np.float32)
        expected = sums.astype(given_back).astype(np.float32)
    result = run("MatMul", [left, right], **{ARITHMETIC: name})
    assert np.array_equal(result, expected, equal_nan=True), number


@pytest.mark.parametrize(("left_name", "right_name"), INTEGERS[:3])
def test_what_is_left_to_the_common_kernels_is_exact_too(left_name: str, right_name: str) -> None:
    """The kernels that serve whole models, over shapes beside those that prove them."""
    if ("MatMulInteger", left_name, right_name) not in common.exact():
        return  # not used on this CPU: computed as the first test has it
    session = None
    for number in range(0, 2**44, 2**44 // 300):
        drawn = case(number)
        inputs = [
            integers(drawn, left_name, (drawn.m, drawn.k)),
            integers(drawn, right_name, (drawn.k, drawn.n)),
            np.zeros((), left_name),
            np.zeros((), right_name),
        ]
        session = session or common._session("MatMulInteger", inputs, np.dtype(np.int32))
        (result,) = session.run(None, {f"i{at}": each for at, each in enumerate(inputs)})
        assert np.array_equal(result, inputs[0].astype(np.int64) @ inputs[1].astype(np.int64))
