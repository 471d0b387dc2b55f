"""Attention and recurrent cells, with errors followed through every step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target, compile_kernel
from tests.unit.host_daemon.compiler.kernels import cases
from tests.unit.host_daemon.compiler.kernels.machines import CARDS, FLOATS, arithmetics
from tests.unit.host_daemon.compiler.kernels.recurrences import STEPS, Halves, Singles, layer
from tests.unit.host_daemon.compiler.kernels.roundoff import (
    ELEMENTARY,
    FORMATS,
    RESULTS,
    Format,
    U,
    gamma,
    product,
    stored,
)
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument
from vaccel.kernels import KERNELS
from vaccel.model import DType, Port

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", STEPS)
def test_a_recurrent_layer_is_within_the_bound_of_its_steps(
    vf: Target, name: str, kind: str
) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
        shapes = cases.dims(data.draw, KERNELS[name], d=2 if direction[0] == "b" else 1)
        arrays = {each: cases.numbers(rng, shape, kind, -1, 1) for each, shape in shapes.items()}
        for optional in ("bias", "initial_h", "initial_c"):
            if optional in arrays and data.draw(st.booleans()):
                del arrays[optional]
        linear = name == "gru" and data.draw(st.booleans())
        own = {"linear_before_reset": linear} if name == "gru" else {}
        run = cases.run(vf, name, arrays, direction=direction, **own)
        # Banks round as they go along, and what they give are halves already.
        banks = vf.device.card.name == "aquabolt-xl" and (name, kind) == ("lstm", "float16")
        assert run.places == {"banks"} or not banks
        steps = Halves() if banks else Singles()
        expected = layer(name, cases.wide(arrays), direction, linear, steps)
        for each, found in run.results.items():
            exact, error = expected[each]
            own = stored(exact, error, "float32" if banks else kind)
            assert (np.abs(found - exact) <= own).all(), each

    check()


def attend(q, k, v, mask, scale: float, causal: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Attention in float64 and its error.

    A score s is within gamma(d + 4) |q||k| scale + 2u |mask|; a share is then within the factor
    1 + 2 ds + gamma(n + 2 ELEMENTARY + 2) + 2u |s - max|, and a sum of shares gamma(n) more.
    ``causal`` is the first query's place among the keys. In float16 the operands of both products
    and the scores are rounded to it as well: five roundings of a score's terms, two of a share.
    """
    kind = q.dtype.name
    short = FORMATS["float16"] if kind == "float16" else Format(0.0, 0.0)
    q, k, v = (array.astype(np.float64) for array in (q, k, v))
    shared = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, shared, 1), np.repeat(v, shared, 1)
    scores = q @ k.swapaxes(-1, -2) * scale
    terms = (np.abs(q) @ np.abs(k).swapaxes(-1, -2)) * scale
    ds = (gamma(q.shape[-1] + 4) + 5 * short.u) * terms
    if mask is not None and mask.dtype == bool:
        scores = np.where(mask, scores, -np.inf)
    elif mask is not None:
        extra = 2 * (U + short.u) * (np.abs(mask) + np.abs(scores + mask))
        scores, ds = scores + mask, ds + extra
    if causal is not None:
        rows, columns = np.indices(scores.shape[-2:])
        scores = np.where(columns <= rows + causal, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    shares = np.exp(scores - top)
    shares /= shares.sum(-1, keepdims=True)
    far = np.where(np.isfinite(scores), np.abs(scores - top), 0).max(-1, keepdims=True)
    n = scores.shape[-1]
    relative = 2 * ds.max(-1, keepdims=True) + gamma(n + 2 * ELEMENTARY + 2) + 2 * U * far
    sizes = shares @ np.abs(v)
    error = (relative + gamma(n) + 2 * short.u) * sizes
    error = error + short.eta * np.abs(v).sum(-2, keepdims=True)
    exact = shares @ v
    return exact, stored(exact, error, kind)


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("name", ["attention", "cached_attention"])
def test_attention_is_within_the_bound_of_its_scores(vf: Target, name: str, kind: str) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng, shared = np.random.default_rng(seed), data.draw(st.integers(1, 2))
        new, past = (data.draw(st.integers(1, 4)) for _ in range(2))
        sizes = {"h": 2 * shared, "g": 2, "s": new, "p": past, "a": new + past}
        shapes = cases.dims(data.draw, KERNELS[name], **sizes)
        arrays = {each: cases.numbers(rng, shape, kind) for each, shape in shapes.items()}
        masked = data.draw(st.sampled_from(["", "bool", kind]))
        del arrays["mask"]
        if masked:
            mask = cases.numbers(rng, shapes["mask"][-2:], masked)
            if masked == "bool":
                mask[:, 0] = True  # a query that sees nothing has no answer
            arrays["mask"] = mask
        scale = data.draw(st.sampled_from([0.0, 0.5]))
        results = cases.run(vf, name, arrays, scale=scale).results
        q, k, v, *before = (array for key, array in arrays.items() if key != "mask")
        if before:
            k, v = np.concatenate([before[0], k], 2), np.concatenate([before[1], v], 2)
            assert np.array_equal(results["present_key"], k)
            assert np.array_equal(results["present_value"], v)
        scale = scale or 1 / math.sqrt(q.shape[-1])
        exact, error = attend(q, k, v, arrays.get("mask"), scale, None)
        assert (np.abs(results["result"] - exact) <= error).all()

    check()


def attend_short(q, k, v, scale: float, arithmetic: str) -> tuple[np.ndarray, np.ndarray]:
    """As ``attend``, with both products in an arithmetic of their own.

    A share whose scores are within ds is within the factor 1 + r, with r as there; the second
    product takes shares within that: its own bound for them, and r of what it adds up.
    """
    q, k, v = (array.astype(np.float64) for array in (q * np.float32(scale), k, v))
    shared = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, shared, 1), np.repeat(v, shared, 1)
    scores = q @ k.swapaxes(-1, -2)
    ds = product(q, k.swapaxes(-1, -2), scores, np.matmul, arithmetic, q.shape[-1] + 1)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    far = np.abs(scores - scores.max(-1, keepdims=True)).max(-1, keepdims=True)
    r = np.expm1(2 * ds.max(-1, keepdims=True))
    r = r + gamma(scores.shape[-1] + 2 * ELEMENTARY + 2) + 2 * U * far
    exact = shares @ v
    error = product(shares * (1 + r), v, exact, np.matmul, arithmetic, v.shape[-2] + 1)
    return exact, error + r * (shares @ np.abs(v))


@pytest.mark.parametrize(
    ("vf", "arithmetic"),
    [(card, a) for card in CARDS for a in arithmetics(card, "matmul") if a in RESULTS],
    indirect=["vf"],
)
def test_attention_in_an_arithmetic_is_within_the_bound_of_its_products(
    vf: Target, arithmetic: str
) -> None:
    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng, shared = np.random.default_rng(seed), data.draw(st.integers(1, 2))
        new, past = (data.draw(st.integers(1, 4)) for _ in range(2))
        name = data.draw(st.sampled_from(["attention", "cached_attention"]))
        sizes = {"h": 2 * shared, "g": 2, "s": new, "p": past, "a": new + past}
        shapes = cases.dims(data.draw, KERNELS[name], **sizes)
        del shapes["mask"]
        arrays = {each: cases.numbers(rng, s, "float32", -1, 1) for each, s in shapes.items()}
        results = cases.run(vf, name, arrays, arithmetic=arithmetic).results
        q, k, v, *before = arrays.values()
        if before:
            k, v = np.concatenate([before[0], k], 2), np.concatenate([before[1], v], 2)
            assert np.array_equal(results["present_key"], k)
        exact, error = attend_short(q, k, v, 1 / math.sqrt(q.shape[-1]), arithmetic)
        assert (np.abs(results["result"] - exact) <= error).all()

    check()


@pytest.mark.parametrize("mask", ["bool", "float32"])
def test_masks_do_the_same_in_any_arithmetic(npu: Target, mask: str) -> None:
    """In fp16 of numbers that fp16 holds, all that differs is rounding on the way."""
    rng = np.random.default_rng(7)
    arrays = {each: np.sign(cases.numbers(rng, (1, 4, 3, 4), "float32")) for each in "qkv"}
    arrays["mask"] = np.asarray(rng.integers(0, 2, (3, 3))).astype(mask)
    arrays["mask"][:, 0] = 1
    own = {"causal": True, "scale": 0.5}
    plain = cases.run(npu, "attention", arrays, **own).results["result"]
    short = cases.run(npu, "attention", arrays, **own, arithmetic="fp16").results["result"]
    # Shares are rounded once, and what they add up to once more.
    assert (np.abs(plain - short) <= 4 * FORMATS["fp16"].u).all()


def test_sizes_of_attention_in_an_arithmetic_are_numbers(npu: Target) -> None:
    ports = tuple(Port(n, DType.FLOAT32, (1, 2, "l", 4)) for n in "qkv")
    with pytest.raises(InvalidArgument, match=r"sizes must be numbers; given q: float32\[1, 2, l"):
        compile_kernel(KernelSource("attention", ports, {"arithmetic": "bf16"}), npu)
    own = {"arithmetic": "fp32"}  # that is the tensors' own
    assert compile_kernel(KernelSource("attention", ports, own), npu).nodes == 1
    long = tuple(Port(n, DType.FLOAT32, (1, 1, 5000, 4)) for n in "qkv")
    with pytest.raises(InvalidArgument, match="causal mask of 5000 by 5000"):
        settings_ = {"arithmetic": "bf16", "causal": "1"}
        compile_kernel(KernelSource("attention", long, settings_), npu)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("kind", FLOATS)
def test_positions_turn_pairs(vf: Target, kind: str, interleaved: bool) -> None:
    """Two products and a sum: within gamma(3) of their sizes, in float16 each rounded."""

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        tokens = data.draw(st.integers(1, 4))
        rows = tokens + data.draw(st.integers(0, 3))
        shapes = cases.dims(data.draw, KERNELS["rotary_embedding"], l=tokens, p=rows)
        arrays = {
            name: cases.numbers(rng, shape, kind, -1, 1)
            for name, shape in shapes.items()
            if name != "positions"
        }
        arrays["positions"] = rng.integers(0, len(arrays["cos"]), shapes["positions"])
        own = {"interleaved": interleaved}
        found = cases.run(vf, "rotary_embedding", arrays, **own).results["result"]
        x, *angles = (arrays[name].astype(np.float64) for name in ("x", "cos", "sin"))
        cos, sin = (angle[arrays["positions"]][:, None] for angle in angles)
        half = x.shape[-1] // 2
        pair = (slice(0, None, 2), slice(1, None, 2)) if interleaved else None
        one, two = pair or (slice(0, half), slice(half, None))
        exact, sizes = np.empty_like(x), np.empty_like(x)
        first, second = x[..., one], x[..., two]
        exact[..., one], exact[..., two] = first * cos - second * sin, first * sin + second * cos
        sizes[..., one] = np.abs(first * cos) + np.abs(second * sin)
        sizes[..., two] = np.abs(first * sin) + np.abs(second * cos)
        short = FORMATS["float16"].u if kind == "float16" else 0.0
        error = stored(exact, (gamma(3) + 2 * short) * sizes, kind)
        assert (np.abs(found - exact) <= error).all()

    check()


@pytest.mark.parametrize("past", [0, 3])
def test_a_query_sees_no_later_key(npu: Target, past: int) -> None:
    rng, name = np.random.default_rng(past), "cached_attention" if past else "attention"
    q, k, v = (cases.numbers(rng, (2, 2, 4, 5), "float32") for _ in range(3))
    arrays = {"q": q, "k": k, "v": v}
    if past:
        before = [cases.numbers(rng, (2, 2, past, 5), "float32") for _ in range(2)]
        arrays |= {"past_key": before[0], "past_value": before[1]}
        k, v = np.concatenate([before[0], k], 2), np.concatenate([before[1], v], 2)
    found = cases.run(npu, name, arrays, causal=True).results["result"]
    exact, error = attend(q, k, v, None, 1 / math.sqrt(5), past)
    assert (np.abs(found - exact) <= error).all()


def test_a_cache_grows_step_by_step_as_one_pass(npu: Target) -> None:
    """Decoding token by token over the cache is causal attention over all of them."""
    rng = np.random.default_rng(3)
    q, k, v = (cases.numbers(rng, (1, 2, 6, 8), "float32") for _ in range(3))
    whole = cases.run(npu, "attention", {"q": q, "k": k, "v": v}, causal=True).results["result"]
    key, value = k[:, :, :1], v[:, :, :1]
    for t in range(1, 6):
        at = {name: array[:, :, t : t + 1] for name, array in (("q", q), ("k", k), ("v", v))}
        step = cases.run(npu, "cached_attention", at | {"past_key": key, "past_value": value})
        key, value = step.results["present_key"], step.results["present_value"]
        _, error = attend(at["q"], key, value, None, 8**-0.5, None)
        assert (np.abs(step.results["result"] - whole[:, :, t : t + 1]) <= 2 * error).all()
    assert np.array_equal(key, k)


@pytest.mark.parametrize("name", ["attention", "cached_attention", *STEPS])
def test_a_sequence_is_one_node_on_the_arrays(npu: Target, name: str) -> None:
    if name in STEPS:
        many = STEPS[name][0] * 4
        shapes = {"x": (3, 2, 5), "w": (1, many, 5), "r": (1, many, 4)}
    else:
        shapes = dict.fromkeys("qkv", (1, 2, 3, 8))
        if name[0] == "c":
            shapes |= {"past_key": (1, 2, 7, 8), "past_value": (1, 2, 7, 8)}
    program = cases.compiled(npu, name, {n: np.ones(s, np.float32) for n, s in shapes.items()})
    assert program.estimate(shapes, {}).nodes == {"array": 1}
