"""Reductions, softmax and normalisations: within bounds that follow from their sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.kernels import cases
from tests.unit.host_daemon.compiler.kernels.roundoff import ELEMENTARY, U, gamma, stored
from vaccel.kernels import KERNELS

SEEDS = st.integers(0, 2**32 - 1)
FLOATS = ("float32", "float16")
EPSILON = 1e-3


def total(x: np.ndarray, axis: object) -> tuple[np.ndarray, np.ndarray]:
    """A sum and its error: gamma(n) of the sum of sizes."""
    exact = x.sum(axis)
    n = x.size / max(exact.size, 1)
    return exact, gamma(n) * np.abs(x).sum(axis)


def mean(x: np.ndarray, axis: object) -> tuple[np.ndarray, np.ndarray]:
    n = x.size / max(x.sum(axis).size, 1)
    exact, error = total(x, axis)
    return exact / n, error / n + U * np.abs(exact / n)


def prod(x: np.ndarray, axis: object) -> tuple[np.ndarray, np.ndarray]:
    exact = x.prod(axis)
    return exact, gamma(x.size / max(exact.size, 1)) * np.abs(exact)


def l2(x: np.ndarray, axis: object) -> tuple[np.ndarray, np.ndarray]:
    """The root halves the relative error of the sum of squares, all of one sign."""
    exact = np.sqrt((x * x).sum(axis))
    return exact, gamma(x.size / max(exact.size, 1) / 2 + 2) * exact


def log_sum_exp(x: np.ndarray, axis: object) -> tuple[np.ndarray, np.ndarray]:
    """Terms are within ELEMENTARY u and |x - max| u, the sum gamma(n), the logarithm of them adds
    that absolutely.
    """
    top = x.max(axis, keepdims=True)
    sums = np.exp(x - top).sum(axis, keepdims=True)
    exact = (top + np.log(sums)).sum(axis)
    spread = np.abs(x - top).max(axis) + np.abs(top).sum(axis)
    n = x.size / max(exact.size, 1)
    return exact, gamma(n + 2 * ELEMENTARY) + U * (2 * spread + ELEMENTARY * np.abs(exact))


REDUCTIONS = {
    "reduce_sum": total,
    "reduce_mean": mean,
    "reduce_prod": prod,
    "reduce_l2": l2,
    "reduce_log_sum_exp": log_sum_exp,
}
EXACT = {"reduce_max": np.max, "reduce_min": np.min}


def axes_of(draw: st.DrawFn, rank: int) -> tuple[int, ...]:
    chosen = draw(st.lists(st.integers(0, rank - 1), unique=True, max_size=rank))
    return tuple(axis - rank if draw(st.booleans()) else axis for axis in chosen)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_is_within_the_bound_of_its_sum(vf: Target, name: str, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        shape = cases.dims(data.draw, KERNELS[name])["x"]
        low = 0.5 if name == "reduce_prod" else -4.0
        x = cases.numbers(np.random.default_rng(seed), shape, kind, low, 1.5)
        axes, keep = axes_of(data.draw, x.ndim), data.draw(st.booleans())
        found = cases.run(vf, name, {"x": x}, axes=axes, keepdims=keep).results["result"]
        over = axes or tuple(range(x.ndim))
        exact, error = REDUCTIONS[name](x.astype(np.float64), over)
        assert (np.abs(found.reshape(exact.shape) - exact) <= stored(exact, error, kind)).all()
        assert found.shape == x.sum(over, keepdims=keep).shape

    check()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((n, d.value) for n in EXACT for d in KERNELS[n].types[0].variables["T"]),
        ("reduce_sum", "int32"),
        ("reduce_sum", "int64"),
    ],
)
def test_a_reduction_that_rounds_nothing_is_equal(vf: Target, name: str, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        shape = cases.dims(data.draw, KERNELS[name])["x"]
        x = cases.numbers(np.random.default_rng(seed), shape, kind)
        axes = axes_of(data.draw, x.ndim)
        found = cases.run(vf, name, {"x": x}, axes=axes).results["result"]
        reduce = EXACT.get(name) or (lambda x, axis: x.sum(axis, dtype=x.dtype))
        assert np.array_equal(found, reduce(x, axis=axes or tuple(range(x.ndim))))

    check()


@pytest.mark.parametrize("kind", [d.value for d in KERNELS["argmax"].types[0].variables["T"]])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_are_of_the_first(vf: Target, name: str, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        shape = cases.dims(data.draw, KERNELS[name])["x"]
        # Few values, so that some are equal.
        x = np.random.default_rng(seed).integers(0, 3, shape).astype(kind)
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        found = cases.run(vf, name, {"x": x}, axis=axis).results["result"]
        assert np.array_equal(found, getattr(np, name)(x, axis))

    check()


@pytest.mark.parametrize("kind", ["float32", "float16", "int32", "int64"])
def test_running_sums(vf: Target, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        shape = cases.dims(data.draw, KERNELS["cumsum"])["x"]
        x = cases.numbers(np.random.default_rng(seed), shape, kind)
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        found = cases.run(vf, "cumsum", {"x": x}, axis=axis).results["result"]
        if kind.startswith("int"):
            assert np.array_equal(found, x.cumsum(axis, dtype=x.dtype))
            return
        wide = x.astype(np.float64)
        error = gamma(x.shape[axis]) * np.abs(wide).cumsum(axis)
        exact = wide.cumsum(axis)
        assert (np.abs(found - exact) <= stored(exact, error, kind)).all()

    check()


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(vf: Target, name: str, kind: str) -> None:
    """Each exponential is within ELEMENTARY u and u |x - max|, their sum within gamma(n) more."""

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        shape = cases.dims(data.draw, KERNELS[name])["x"]
        x = cases.numbers(np.random.default_rng(seed), shape, kind, -20, 20)
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        found = cases.run(vf, name, {"x": x}, axis=axis).results["result"]
        wide = x.astype(np.float64)
        far = np.abs(wide - wide.max(axis, keepdims=True)).max(axis, keepdims=True)
        relative = gamma(x.shape[axis] + 2 * ELEMENTARY + 2) + 2 * U * far
        shares = np.exp(wide - wide.max(axis, keepdims=True))
        exact = shares / shares.sum(axis, keepdims=True)
        error = relative * exact
        if name == "log_softmax":
            exact = np.log(exact)
            error = relative + 2 * U * (np.abs(exact) + np.abs(wide))
        assert (np.abs(found - exact) <= stored(exact, error, kind)).all()

    check()


def normalised(
    x: np.ndarray, axes: tuple[int, ...], scale: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """To mean 0 and variance 1, and the error of it.

    A mean m is within gamma(n) mean|x|. The variance v, as mean x^2 - m^2 or as mean (x - m)^2, is
    within gamma(n + 4) (mean x^2 + m^2) + 2 |m| dm. With r = 1 / sqrt(v + e) and z = (x - m) r:
    dz <= dm r + |x - m| r dv / (v + e) + 4u |z|, where the middle term is twice the first order.
    """
    n = float(np.prod([x.shape[axis] for axis in axes]))
    m = x.mean(axes, keepdims=True)
    dm = gamma(n + 1) * np.abs(x).mean(axes, keepdims=True)
    square = (x * x).mean(axes, keepdims=True)
    v = square - m * m
    dv = gamma(n + 4) * (square + m * m) + 2 * np.abs(m) * dm
    r = 1 / np.sqrt(np.maximum(v, 0) + EPSILON)
    z = (x - m) * r
    dz = dm * r + np.abs(z) * (dv * r * r + 4 * U)
    exact = z * scale + bias
    return exact, np.abs(scale) * dz + 4 * U * (np.abs(z * scale) + np.abs(bias))


def channels(array: np.ndarray, x: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *(1,) * (x.ndim - 2))


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "batch_norm", "group_norm"])
def test_normalisations(vf: Target, name: str, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng, groups = np.random.default_rng(seed), data.draw(st.integers(1, 3))
        count = groups * data.draw(st.integers(1, 4))
        shapes = cases.dims(data.draw, KERNELS[name], c=count)
        arrays = {each: cases.numbers(rng, shape, kind, -2, 2) for each, shape in shapes.items()}
        if "variance" in arrays:
            arrays["variance"] = np.abs(arrays["variance"]) + arrays["variance"].dtype.type(0.1)
        if name == "layer_norm" and data.draw(st.booleans()):
            del arrays["bias"]
        own = {"groups": groups} if name == "group_norm" else {}
        found = cases.run(vf, name, arrays, epsilon=EPSILON, **own).results["result"]
        exact, error = reference(name, cases.wide(arrays), groups)
        assert (np.abs(found - exact) <= stored(exact, error, kind)).all()

    check()


def reference(name: str, arrays: dict, groups: int) -> tuple[np.ndarray, np.ndarray]:
    x, scale = arrays["x"], arrays["scale"]
    bias = arrays.get("bias", np.zeros_like(scale))
    if name == "layer_norm":
        return normalised(x, (-1,), scale, bias)
    if name == "rms_norm":
        square = (x * x).mean(-1, keepdims=True)
        exact = x / np.sqrt(square + EPSILON) * scale
        return exact, gamma(x.shape[-1] + 8) * np.abs(exact)
    if name == "group_norm":
        parts = x.reshape(x.shape[0], groups, -1)
        z, dz = normalised(parts, (-1,), np.ones(1), np.zeros(1))
        scale, bias = channels(scale, x), channels(bias, x)
        z, dz = z.reshape(x.shape), dz.reshape(x.shape)
        return z * scale + bias, np.abs(scale) * dz + 4 * U * (np.abs(z * scale) + np.abs(bias))
    mean_, variance = (channels(arrays[each], x) for each in ("mean", "variance"))
    factor = channels(scale, x) / np.sqrt(variance + EPSILON)
    bias = channels(bias, x)
    sizes = np.abs(x * factor) + np.abs(mean_ * factor) + np.abs(bias)
    # Scale and bias may be folded first: eight operations in all, on terms of these sizes.
    return (x - mean_) * factor + bias, gamma(8) * sizes


def test_every_reduction_and_normalisation_is_tested() -> None:
    families = ("reduction", "normalisation")
    named = {*REDUCTIONS, *EXACT, "argmax", "argmin", "cumsum", "softmax", "log_softmax"}
    named |= {"layer_norm", "rms_norm", "batch_norm", "group_norm"}
    assert named == {each.name for each in KERNELS.values() if each.family in families}
