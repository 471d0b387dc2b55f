"""Kernels of single elements: equal to NumPy where they round once at most, else within a bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.kernels import cases, roundoff
from vaccel.errors import InvalidArgument
from vaccel.kernels import KERNELS
from vaccel.kernels.types import ALL

SEEDS = st.integers(0, 2**32 - 1)
FLOATS = ("float32", "float16")


def types_of(name: str) -> list[str]:
    """Types of the first operand that can vary."""
    return [dtype.value for types in KERNELS[name].types for dtype in types.variables["T"]]


def with_types(names: object) -> list[tuple[str, str]]:
    return [(name, kind) for name in names for kind in types_of(name)]  # type: ignore[attr-defined]


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


# In the operand's own type, and then equal to NumPy to the bit.
EQUAL = {
    "abs": np.abs,
    "negative": np.negative,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "is_nan": np.isnan,
    "logical_not": np.logical_not,
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
}
# Rounded once from the exact value: half a unit in the last place.
ROUNDED = {"sqrt": np.sqrt, "reciprocal": np.reciprocal}
# In exact arithmetic, and the size that the polynomial's error goes with beside the result itself.
CURVES = {
    "exp": (np.exp, 0.0),
    "log": (np.log, 0.0),
    "sin": (np.sin, 1.0),
    "cos": (np.cos, 1.0),
    "tanh": (np.tanh, 1.0),
    "erf": (erf, 1.0),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 1.0),
    "silu": (lambda x: x / (1 + np.exp(-x)), np.abs),
    "gelu": (lambda x: x / 2 * (1 + erf(x / math.sqrt(2))), np.abs),
    "mish": (lambda x: x * np.tanh(softplus(x)), np.abs),
    "softplus": (softplus, 1.0),
    "softsign": (lambda x: x / (1 + np.abs(x)), 0.0),
    "hard_swish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), np.abs),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), 1.0),
    "leaky_relu": (lambda x: np.where(x > 0, x, x * float(np.float32(0.01))), 0.0),
}
BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "divide": np.divide,
    "fmod": np.fmod,
}


def operand(draw: st.DrawFn, name: str, rng: np.random.Generator, kind: str) -> np.ndarray:
    shape = cases.dims(draw, KERNELS[name], least=0)["x"]
    low = 0.01 if name in ("log", "sqrt", "reciprocal") else -9.0
    return cases.numbers(rng, shape, kind, low, 9.0)


@pytest.mark.parametrize(("name", "kind"), with_types(EQUAL))
def test_what_rounds_nothing_is_equal(vf: Target, name: str, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        x = operand(data.draw, name, np.random.default_rng(seed), kind)
        if name == "is_nan" and x.size:
            x.flat[0] = np.nan
        found = cases.run(vf, name, {"x": x}).results["result"]
        with np.errstate(over="ignore"):
            assert np.array_equal(found, EQUAL[name](x))

    check()


@pytest.mark.parametrize(("name", "kind"), with_types((*CURVES, *ROUNDED)))
def test_a_curve_is_within_its_bound(vf: Target, name: str, kind: str) -> None:
    """|found - exact| <= ELEMENTARY u (|exact| + size), then one rounding to the type."""

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        x = operand(data.draw, name, np.random.default_rng(seed), kind)
        found = cases.run(vf, name, {"x": x}).results["result"]
        curve, size = CURVES.get(name) or (ROUNDED[name], 0.0)
        exact = curve(x.astype(np.float64))
        scale = size(x.astype(np.float64)) if callable(size) else size
        units = roundoff.ELEMENTARY if name in CURVES else 1.0
        error = roundoff.stored(exact, units * roundoff.U * (np.abs(exact) + scale), kind)
        assert (np.abs(found - exact) <= error).all()

    check()


@pytest.mark.parametrize(("name", "kind"), with_types(BINARY))
def test_two_operands_broadcast_and_are_equal(vf: Target, name: str, kind: str) -> None:
    """IEEE operations are rounded once, in float16 too: float32 has over twice its digits."""

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shapes = cases.dims(data.draw, KERNELS[name])
        arrays = {each: cases.numbers(rng, shape, kind) for each, shape in shapes.items()}
        if name in ("divide", "fmod"):
            arrays["b"][np.abs(arrays["b"]) < 0.5] = 1
        found = cases.run(vf, name, arrays).results["result"]
        with np.errstate(over="ignore"):
            assert np.array_equal(found, BINARY[name](arrays["a"], arrays["b"]))

    check()


@pytest.mark.parametrize("kind", FLOATS)
def test_powers_are_within_their_bound(vf: Target, kind: str) -> None:
    @cases.few(vf)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        arrays = {"a": cases.numbers(rng, (3, 4), kind, 0.1), "b": cases.numbers(rng, (4,), kind)}
        exact = np.power(*cases.wide(arrays).values())
        error = roundoff.stored(exact, roundoff.ELEMENTARY * roundoff.U * exact, kind)
        found = cases.run(vf, "power", arrays).results["result"]
        assert (np.abs(found - exact) <= error).all()

    check()


@pytest.mark.parametrize("kind", types_of("where"))
def test_where_and_clip_are_equal(vf: Target, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shapes = cases.dims(data.draw, KERNELS["where"])
        arrays = {
            each: cases.numbers(rng, shape, "bool" if each == "condition" else kind)
            for each, shape in shapes.items()
        }
        found = cases.run(vf, "where", arrays).results["result"]
        assert np.array_equal(found, np.where(*arrays.values()))
        x, low, high = arrays["a"], data.draw(st.integers(0, 3)), data.draw(st.integers(3, 9))
        found = cases.run(vf, "clip", {"x": x}, low=low, high=high).results["result"]
        assert np.array_equal(found, np.clip(x, low, high))
        found = cases.run(vf, "clip", {"x": x}, low=low).results["result"]
        assert np.array_equal(found, np.maximum(x, x.dtype.type(low)))

    check()


@pytest.mark.parametrize("kind", [dtype.value for dtype in ALL])
@pytest.mark.parametrize("to", [dtype.value for dtype in ALL])
def test_casts_are_equal(vf: Target, kind: str, to: str) -> None:
    x = cases.numbers(np.random.default_rng(1), (3, 5), kind, 0, 100)
    found = cases.run(vf, "cast", {"x": x}, to=to).results["result"]
    assert np.array_equal(found, x.astype(to))


@pytest.mark.parametrize(
    ("name", "given", "extra"),
    [("gelu", "float32", {"approximate": True}), ("elu", "float16", {"alpha": 0.5})],
)
def test_settings_reach_the_kernel(npu: Target, name: str, given: str, extra: dict) -> None:
    x = cases.numbers(np.random.default_rng(2), (50,), given)
    found = cases.run(npu, name, {"x": x}, **extra).results["result"]
    wide = x.astype(np.float64)
    if name == "gelu":
        inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
        exact = wide / 2 * (1 + np.tanh(inner))
    else:
        exact = np.where(wide > 0, wide, 0.5 * np.expm1(wide))
    # The cubic's own rounding comes on top: three more products.
    units = (roundoff.ELEMENTARY + 8) * roundoff.U * (np.abs(exact) + np.abs(wide) + 1)
    assert (np.abs(found - exact) <= roundoff.stored(exact, units, given)).all()


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantising_rounds_half_to_even_and_saturates(vf: Target, kind: str) -> None:
    @cases.few(vf)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        x = cases.numbers(rng, (4, 9), "float32", -400, 400)
        x[0, :4] = [0.5, 1.5, 2.5, -2.5]
        scale, zero = np.float32(rng.choice([1.0, 0.37])), np.array(rng.integers(0, 99), kind)
        arrays = {"x": x, "scale": np.asarray(scale), "zero": zero}
        limits = np.iinfo(kind)
        exact = np.clip(np.rint(x / scale) + zero.astype(np.float32), limits.min, limits.max)
        short = cases.run(vf, "quantize", arrays).results["result"]
        assert np.array_equal(short, exact.astype(kind))
        back = cases.run(vf, "dequantize", arrays | {"x": short}).results["result"]
        assert np.array_equal(back, (short.astype(np.float32) - zero.astype(np.float32)) * scale)

    check()


def test_every_kernel_of_elements_is_tested() -> None:
    named = {*EQUAL, *ROUNDED, *CURVES, *BINARY, "power", "where", "clip", "cast"}
    assert named == {each.name for each in KERNELS.values() if each.family == "elementwise"}


@pytest.mark.parametrize(
    ("settings_", "word"),
    [({"low": 2, "high": 1}, "more than"), ({"low": 0.5}, "no int8"), ({"high": 999}, "no int8")],
)
def test_bounds_that_a_type_has_not_are_refused(npu: Target, settings_: dict, word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        cases.compiled(npu, "clip", {"x": np.int8([1])}, **settings_)
