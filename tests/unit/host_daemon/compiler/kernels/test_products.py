"""Products and convolutions: within the bound of their arithmetic, integers exact."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target, compile_kernel
from tests.unit.host_daemon.compiler.kernels import cases, roundoff
from tests.unit.host_daemon.compiler.kernels.drawn import WINDOWS, arrays_of
from tests.unit.host_daemon.compiler.kernels.machines import (
    CARDS,
    FLOATS,
    MATRICES,
    arithmetics,
    is_of,
    product,
)
from vaccel.compute import KernelSource
from vaccel.kernels.products import spread
from vaccel.model import DType, Port

SEEDS = st.integers(0, 2**32 - 1)


def bias_of(name: str, arrays: dict, exact: np.ndarray) -> np.ndarray | float:
    """A bias as it is added to results, 0 where there is none."""
    if "bias" not in arrays:
        return 0.0
    bias = arrays["bias"].astype(np.float64)
    return bias if name == "linear" else bias.reshape(-1, *(1,) * (exact.ndim - 2))


def is_within(vf: Target, name: str, run: cases.Run, exact, arithmetic: str, depth: int) -> bool:
    """Whether a product is as its arithmetic says, rounded to the type of its tensors."""
    found = run.results["result"]
    left, right, *_ = (np.asarray(each) for each in run.arrays.values())
    bias = bias_of(name, dict(run.arrays), found)
    card = vf.device.card.name
    expected, error = product(card, run.places, (left, right), exact, arithmetic, depth, bias)
    error = roundoff.stored(expected, error, found.dtype.name)
    return bool((np.abs(found - expected) <= error).all()) and is_of(found, arithmetic)


@pytest.mark.parametrize(
    ("vf", "name", "arithmetic"),
    [(c, n, a) for c in CARDS for n in MATRICES + WINDOWS for a in arithmetics(c, n)],
    indirect=["vf"],
)
def test_a_product_is_within_the_bound_of_its_arithmetic(
    vf: Target, name: str, arithmetic: str
) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng, own = np.random.default_rng(seed), {}
        kind = arithmetic if arithmetic in FLOATS else data.draw(st.sampled_from(FLOATS))
        arrays, chosen, exact, depth = arrays_of(name, data.draw, rng, kind, kind)
        if arithmetic not in FLOATS:
            own = {"arithmetic": arithmetic}
        found = cases.run(vf, name, arrays, **chosen, **own)
        assert is_within(vf, name, found, exact, arithmetic, depth)

    check()


@pytest.mark.parametrize("name", [n for n in MATRICES + WINDOWS if n != "linear"])
@pytest.mark.parametrize("left", ["int8", "uint8"])
@pytest.mark.parametrize("right", ["int8", "uint8"])
def test_integer_products_are_exact(vf: Target, name: str, left: str, right: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        arrays, chosen, exact, _ = arrays_of(name, data.draw, rng, left, right)
        found = cases.run(vf, name, arrays, **chosen).results["result"]
        expected = exact(*(array.astype(np.int64) for array in arrays.values()))
        assert found.dtype == np.int32
        assert np.array_equal(found, expected)

    check()


@pytest.mark.parametrize("vf", ["kcloud-1", "kcloud-2"], indirect=True)
@pytest.mark.parametrize("name", [n for n in MATRICES + WINDOWS if n != "linear"])
@pytest.mark.parametrize("arithmetic", ["int8", "int4"])
def test_products_in_integers_by_name_are_exact(vf: Target, name: str, arithmetic: str) -> None:
    """Weights of int4 have four bits, activations eight."""

    @cases.few(vf, 3)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        arrays, chosen, exact, _ = arrays_of(name, data.draw, rng, "int8", "int8")
        if arithmetic == "int4":
            weights = list(arrays)[1]
            arrays[weights] = arrays[weights] // 16
        found = cases.run(vf, name, arrays, **chosen, arithmetic=arithmetic).results["result"]
        assert np.array_equal(found, exact(*(array.astype(np.int64) for array in arrays.values())))

    check()


def spread_out(x: np.ndarray, w: np.ndarray, chosen: dict) -> np.ndarray:
    """The definition of a transposed convolution, one input pixel after another."""
    group, names = chosen["group"], ("stride", "padding", "dilation")
    stride, pads, dilation = (spread(chosen[name], 2, name) for name in names)
    reach = [(side - 1) * step + 1 for side, step in zip(w.shape[2:], dilation, strict=True)]
    wide = [(s - 1) * step + r for s, step, r in zip(x.shape[2:], stride, reach, strict=True)]
    channels, filters = x.shape[1] // group, w.shape[1]
    result = np.zeros((x.shape[0], filters * group, *wide))
    for i, j in np.ndindex(*x.shape[2:]):
        corner = i * stride[0], j * stride[1]
        patch = tuple(slice(c, c + r, d) for c, r, d in zip(corner, reach, dilation, strict=True))
        for g in range(group):
            own = slice(g * channels, (g + 1) * channels)
            added = np.einsum("nc,cfhw->nfhw", x[:, own, i, j], w[own])
            result[(slice(None), slice(g * filters, (g + 1) * filters), *patch)] += added
    return result[:, :, pads[0] : wide[0] - pads[2], pads[1] : wide[1] - pads[3]]


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_transposed_convolution_is_within_its_bound(vf: Target, kind: str) -> None:
    """Every result is a sum of as many products as there are channels and taps, at most."""

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng, group = np.random.default_rng(seed), data.draw(st.integers(1, 2))
        draw = st.integers(1, 3)
        sides = data.draw(st.tuples(draw, draw))
        chosen = {
            "stride": (data.draw(draw),),
            "padding": data.draw(st.sampled_from([(0,), (0, 0, 0, 0)])),
            "dilation": (data.draw(st.integers(1, 2)),),
            "group": group,
        }
        if min(sides) > 1:
            chosen["padding"] = (1, 0, 0, 1)
        channels, filters = group * data.draw(draw), data.draw(draw)
        shapes = {"x": (2, channels, 3, 4), "weight": (channels, filters, *sides)}
        shapes["bias"] = (filters * group,)
        arrays = {name: cases.numbers(rng, shape, kind) for name, shape in shapes.items()}
        found = cases.run(vf, "conv_transpose2d", arrays, **chosen).results["result"]
        x, w, bias = cases.wide(arrays).values()
        exact = spread_out(x, w, chosen) + bias[:, None, None]
        sizes = spread_out(np.abs(x), np.abs(w), chosen) + np.abs(bias[:, None, None])
        depth = channels // group * sides[0] * sides[1] + 2
        error = roundoff.stored(exact, roundoff.gamma(depth) * sizes, kind)
        assert (np.abs(found - exact) <= error).all()

    check()


def test_the_bounds_tell_arithmetics_apart(npu: Target) -> None:
    """A bound that everything met would say nothing."""
    rng = np.random.default_rng(5)
    # Bounds grow with the depth and random errors with its root: over two products they are near.
    shapes = {"a": (64, 2), "b": (2, 64)}
    arrays = {name: cases.numbers(rng, shape, "float32") for name, shape in shapes.items()}
    a, b = cases.wide(arrays).values()
    order = ("float32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2")
    errors = {}
    for name in order:
        own = {} if name == "float32" else {"arithmetic": name}
        found = cases.run(npu, "matmul", arrays, **own).results["result"]
        errors[name] = np.abs(found - a @ b)
    for finer, coarser in pairwise(order):
        bound = roundoff.product(a, b, a @ b, np.matmul, finer, 2)
        assert (errors[coarser] > bound).any(), (finer, coarser)


def test_an_estimate_in_any_arithmetic_computes_nothing(npu: Target) -> None:
    """A product of this size would take minutes."""
    shapes = {"a": (30_000, 30_000), "b": (30_000, 30_000)}
    for name, kind in (("bf16", DType.FLOAT32), ("fp8_e4m3", DType.FLOAT32), ("int8", DType.INT8)):
        ports = tuple(Port(each, kind, shape) for each, shape in shapes.items())
        program = compile_kernel(KernelSource("matmul", ports, {"arithmetic": name}), npu)
        assert program.estimate(shapes, {}).nodes == {"array": 1}


def test_a_short_product_is_faster_on_the_card(npu: Target) -> None:
    shapes = {"a": (256, 256), "b": (256, 256)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    cycles = [
        cases.compiled(npu, "matmul", arrays, **own).estimate(shapes, {}).critical_cycles
        for own in ({}, {"arithmetic": "bf16"}, {"arithmetic": "fp8_e4m3"})
    ]
    assert cycles[0] > cycles[1] > cycles[2]
