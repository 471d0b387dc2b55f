"""Kernels that pick, order and move elements: equal to NumPy, in every type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.kernels import cases
from vaccel.kernels import KERNELS

SEEDS = st.integers(0, 2**32 - 1)


def kinds_of(*names: str) -> list[tuple[str, str]]:
    return [(n, d.value) for n in names for d in KERNELS[n].types[0].variables["T"]]


def tensor(data: st.DataObject, rng: np.random.Generator, kind: str, least: int = 1) -> np.ndarray:
    shape = cases.dims(data.draw, KERNELS["transpose"], least=least)["x"]
    return cases.numbers(rng, shape, kind)


def check_with(vf: Target, body) -> None:
    """Run a body over random data and generators."""

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        body(data, np.random.default_rng(seed))

    check()


@pytest.mark.parametrize("index", ["int64", "int32"])
@pytest.mark.parametrize(("name", "kind"), kinds_of("gather", "embedding"))
def test_slices_are_picked(vf: Target, name: str, kind: str, index: str) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        shapes = cases.dims(data.draw, KERNELS[name])
        first, second = shapes
        x = cases.numbers(rng, shapes[first], kind)
        axis = 0 if name == "embedding" else data.draw(st.integers(-x.ndim, x.ndim - 1))
        size = x.shape[axis]
        picks = np.asarray(rng.integers(-size, size, shapes[second])).astype(index)
        own = {"axis": axis} if name == "gather" else {}
        found = cases.run(vf, name, {first: x, second: picks}, **own).results["result"]
        assert np.array_equal(found, np.take(x, picks, axis))

    check_with(vf, body)


@pytest.mark.parametrize(("name", "kind"), kinds_of("gather_elements"))
def test_elements_are_picked(vf: Target, name: str, kind: str) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        x = tensor(data, rng, kind)
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        shape = list(x.shape)
        shape[axis] = data.draw(st.integers(1, 6))
        picks = np.asarray(rng.integers(-x.shape[axis], x.shape[axis], shape))
        found = cases.run(vf, name, {"x": x, "indices": picks}, axis=axis).results["result"]
        assert np.array_equal(found, np.take_along_axis(x, picks % x.shape[axis], axis))

    check_with(vf, body)


def ordered(x: np.ndarray, axis: int, falling: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values and places in order; of equal values the first comes first, in both directions."""
    keys = -x.astype(np.float64) if falling else x
    places = np.argsort(keys, axis, kind="stable")
    return np.take_along_axis(x, places, axis), places


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize(("name", "kind"), kinds_of("sort", "top_k"))
def test_elements_are_ordered(vf: Target, name: str, kind: str, falling: bool) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        shape = cases.dims(data.draw, KERNELS["sort"])["x"]
        x = rng.integers(0, 4, shape).astype(kind)
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
        values, places = ordered(x, axis, falling)
        count = x.shape[axis]
        own: dict[str, object] = {"descending": falling}
        if name == "top_k":
            count = data.draw(st.integers(0, count))
            own = {"k": count, "largest": falling}
        results = cases.run(vf, name, {"x": x}, axis=axis, **own).results
        part = np.arange(count)
        assert np.array_equal(results["values"], np.take(values, part, axis))
        assert np.array_equal(results["indices"], np.take(places, part, axis))

    check_with(vf, body)


def test_a_sort_of_a_length_not_known_yet(npu: Target) -> None:
    from host_daemon.compiler.program import compile_kernel
    from vaccel.compute import KernelSource
    from vaccel.model import DType, Port

    port = Port("x", DType.FLOAT32, ("rows", "n"))
    program = compile_kernel(KernelSource("sort", (port,)), npu)
    for size in (1, 4, 9):
        x = np.random.default_rng(size).standard_normal((2, size), np.float32)
        results = program.run({"x": x}, ["values", "indices"]).results
        assert np.array_equal(results["values"], np.sort(x))
        assert np.array_equal(results["indices"], np.argsort(x))


@pytest.mark.parametrize(("name", "kind"), kinds_of("transpose", "reshape", "expand", "tile"))
def test_tensors_take_other_shapes(vf: Target, name: str, kind: str) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        x = tensor(data, rng, kind, least=0)
        if name == "transpose":
            order = data.draw(st.permutations(range(x.ndim)))
            given_, expected = {"perm": order}, x.transpose(order)
        elif name == "reshape":
            shape = (-1, x.shape[-1]) if x.size else (0, 7)
            given_, expected = {"shape": shape}, x.reshape(shape)
        elif name == "expand":
            shape = (data.draw(st.integers(1, 3)), *x.shape)
            given_, expected = {"shape": shape}, np.broadcast_to(x, shape)
        else:
            repeats = data.draw(st.lists(st.integers(0, 3), min_size=x.ndim, max_size=x.ndim))
            given_, expected = {"repeats": repeats}, np.tile(x, repeats)
        assert np.array_equal(cases.run(vf, name, {"x": x}, **given_).results["result"], expected)

    check_with(vf, body)


@pytest.mark.parametrize(("name", "kind"), kinds_of("concat"))
def test_parts_are_joined(vf: Target, name: str, kind: str) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        shape = list(tensor(data, rng, kind).shape)
        axis, parts = data.draw(st.integers(-len(shape), len(shape) - 1)), {}
        for index in range(data.draw(st.integers(1, 4))):
            shape[axis] = data.draw(st.integers(0, 3))
            parts[f"parts{index}"] = cases.numbers(rng, tuple(shape), kind)
        found = cases.run(vf, name, parts, axis=axis).results["result"]
        assert np.array_equal(found, np.concatenate(list(parts.values()), axis))

    check_with(vf, body)


@pytest.mark.parametrize(("name", "kind"), kinds_of("slice"))
def test_parts_are_cut(vf: Target, name: str, kind: str) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        x = tensor(data, rng, kind)
        axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1))
        cut: dict[str, list[int]] = {"axes": axes, "starts": [], "ends": [], "steps": []}
        picked = [slice(None)] * x.ndim
        for axis in axes:
            start, end = sorted(data.draw(st.integers(-6, 6)) for _ in range(2))
            step = data.draw(st.sampled_from([1, 2, -1]))
            start, end = (start, end) if step > 0 else (end, start)
            for key, value in (("starts", start), ("ends", end), ("steps", step)):
                cut[key].append(value)
            # ONNX begins at the first element where NumPy has begun before it, and ended.
            begin = max(start, -x.shape[axis]) if step < 0 else start
            picked[axis] = slice(begin, end, step)
        assert np.array_equal(
            cases.run(vf, name, {"x": x}, **cut).results["result"], x[tuple(picked)]
        )

    check_with(vf, body)


@pytest.mark.parametrize(("name", "kind"), kinds_of("pad"))
def test_elements_are_put_around(vf: Target, name: str, kind: str) -> None:
    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        x = tensor(data, rng, kind)
        mode = data.draw(st.sampled_from(["constant", "edge", "reflect"]))
        most = min(x.shape) - 1 if mode == "reflect" else 3
        pads = [data.draw(st.integers(0, most)) for _ in range(2 * x.ndim)]
        value = data.draw(st.integers(0, 1)) if mode == "constant" else 0
        around = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
        own = {"constant_values": value} if mode == "constant" else {}
        found = cases.run(vf, name, {"x": x}, pads=pads, mode=mode, value=value).results["result"]
        assert np.array_equal(found, np.pad(x, around, mode, **own))

    check_with(vf, body)


def windows_of(x: np.ndarray, side: int, stride: int, pad: int, dilation: int, fill: float):
    """Every window of a square side, flat on the last axis; ``fill`` is around."""
    rank = x.ndim - 2
    padded = np.pad(x, [(0, 0)] * 2 + [(pad, pad)] * rank, constant_values=fill)
    reach = (side - 1) * dilation + 1
    axes = tuple(range(2, x.ndim))
    found = np.lib.stride_tricks.sliding_window_view(padded, (reach,) * rank, axes)
    steps = (slice(None),) * 2 + (slice(None, None, stride),) * rank
    picks = (slice(None, None, dilation),) * rank
    found = found[(*steps, *picks)]
    return found.reshape(*found.shape[: x.ndim], -1)


@pytest.mark.parametrize(("name", "kind"), kinds_of("max_pool", "average_pool"))
def test_pooling(vf: Target, name: str, kind: str) -> None:
    """A mean of n is within gamma(n) of the mean of sizes."""
    from tests.unit.host_daemon.compiler.kernels.roundoff import gamma, stored

    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        rank, side = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
        stride, pad = data.draw(st.integers(1, 2)), data.draw(st.integers(0, side - 1))
        dilation = data.draw(st.integers(1, 2)) if name == "max_pool" else 1
        space = [data.draw(st.integers((side - 1) * dilation + 1, 6)) for _ in range(rank)]
        x = cases.numbers(rng, (2, data.draw(st.integers(1, 3)), *space), kind)
        own: dict[str, object] = {"kernel": (side,), "stride": (stride,), "padding": (pad,)}
        if name == "max_pool":
            found = cases.run(vf, name, {"x": x}, **own, dilation=(dilation,)).results["result"]
            least = np.iinfo(kind).min if x.dtype.kind in "iu" else -np.inf
            assert np.array_equal(found, windows_of(x, side, stride, pad, dilation, least).max(-1))
            return
        counted = data.draw(st.booleans())
        found = cases.run(vf, name, {"x": x}, **own, count_padding=counted).results["result"]
        wide = x.astype(np.float64)
        inside = windows_of(np.ones_like(wide), side, stride, pad, 1, float(counted)).sum(-1)
        exact = windows_of(wide, side, stride, pad, 1, 0).sum(-1) / inside
        sizes = windows_of(np.abs(wide), side, stride, pad, 1, 0).sum(-1) / inside
        assert (np.abs(found - exact) <= stored(exact, gamma(side**rank + 2) * sizes, kind)).all()

    check_with(vf, body)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_global_pooling(vf: Target, kind: str) -> None:
    from tests.unit.host_daemon.compiler.kernels.roundoff import gamma, stored

    def body(data: st.DataObject, rng: np.random.Generator) -> None:
        x = cases.numbers(rng, cases.dims(data.draw, KERNELS["global_max_pool"])["x"], kind)
        axes = tuple(range(2, x.ndim))
        found = cases.run(vf, "global_max_pool", {"x": x}).results["result"]
        assert np.array_equal(found, x.max(axes, keepdims=True))
        found = cases.run(vf, "global_average_pool", {"x": x}).results["result"]
        wide = x.astype(np.float64)
        exact = wide.mean(axes, keepdims=True)
        error = gamma(x[0, 0].size + 2) * np.abs(wide).mean(axes, keepdims=True)
        assert (np.abs(found - exact) <= stored(exact, error, kind)).all()

    check_with(vf, body)
