"""Encoders and decoders, in the forms in which exporters and quantisers leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    quantize_dynamic,
    quantize_static,
)

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.strangers.bench import (
    BOOL,
    F32,
    I64,
    Close,
    Draft,
    Feeds,
    agrees,
    value,
)

WIDTH, HEADS, WORDS = 64, 4, 100
LAYERS = 2
# Integers of a launch's range may round the other way.
ROUNDED: Close = (1e-3, 1e-3)


def normalised(draft: Draft, x: str, opset: int) -> str:
    scale, bias = draft.weight(WIDTH, base=1.0), draft.weight(WIDTH)
    if opset >= 17:
        return draft.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)
    centred = draft.add("Sub", x, draft.add("ReduceMean", x, axes=[-1]))
    spread = draft.add("ReduceMean", draft.add("Pow", centred, draft.const(2.0)), axes=[-1])
    root = draft.add("Sqrt", draft.add("Add", spread, draft.const(1e-5)))
    return draft.add("Add", draft.add("Mul", draft.add("Div", centred, root), scale), bias)


def linear(draft: Draft, x: str, taken: int, given: int) -> str:
    product = draft.add("MatMul", x, draft.weight(taken, given))
    return draft.add("Add", product, draft.weight(given))


def heads(draft: Draft, x: str) -> str:
    split = draft.add("Reshape", x, draft.const([0, 0, HEADS, WIDTH // HEADS]))
    return draft.add("Transpose", split, perm=[0, 2, 1, 3])


def attention(draft: Draft, q: str, k: str, v: str, mask: str) -> str:
    scores = draft.add("MatMul", q, draft.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = draft.add("Div", scores, draft.const((WIDTH / HEADS) ** 0.5))
    weighed = draft.add("Softmax", draft.add("Add", scores, mask), axis=-1)
    mixed = draft.add("Transpose", draft.add("MatMul", weighed, v), perm=[0, 2, 1, 3])
    return draft.add("Reshape", mixed, draft.const([0, 0, WIDTH]))


def masked(draft: Draft, mask: str, kind: int) -> str:
    spread = draft.add("Unsqueeze", mask, draft.const([1, 2]))
    hidden = draft.add("Sub", draft.const(1.0), draft.add("Cast", spread, to=kind))
    return draft.add("Mul", hidden, draft.const(-10000.0))


def block(draft: Draft, x: str, mixed: str, opset: int) -> str:
    """What comes behind an attention: a sum, a network with a GELU, another sum."""
    x = normalised(draft, draft.add("Add", linear(draft, mixed, WIDTH, WIDTH), x), opset)
    inner = linear(draft, x, WIDTH, 4 * WIDTH)
    curve = draft.add("Erf", draft.add("Div", inner, draft.const(2**0.5)))
    gate = draft.add("Mul", inner, draft.add("Add", curve, draft.const(1.0)))
    outer = linear(draft, draft.add("Mul", gate, draft.const(0.5)), 4 * WIDTH, WIDTH)
    return normalised(draft, draft.add("Add", outer, x), opset)


def encoder(opset: int = 13, kind: int = F32) -> ModelProto:
    draft = Draft(helper.tensor_dtype_to_np_dtype(kind))
    mask = masked(draft, "mask", kind)
    x = draft.add("Gather", draft.weight(WORDS, WIDTH), "ids")
    for _ in range(LAYERS):
        q, k, v = (heads(draft, linear(draft, x, WIDTH, WIDTH)) for _ in "qkv")
        x = block(draft, x, attention(draft, q, k, v, mask), opset)
    draft.add("Identity", x, out="y")
    inputs = [value(name, I64, ["batch", "length"]) for name in ("ids", "mask")]
    return draft.model(inputs, [value("y", kind, ["batch", "length", WIDTH])], opset)


def texts(batch: int, length: int) -> Feeds:
    mask = np.ones((batch, length), np.int64)
    mask[:, length * 3 // 4 :] = 0
    ids = np.random.default_rng(batch).integers(0, WORDS, (batch, length))
    return {"ids": ids, "mask": mask}


SIZES = [texts(1, 8), texts(5, 16), texts(0, 8)]


class Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._left = iter([texts(2, 8), texts(1, 16)])

    def get_next(self) -> Any:
        return next(self._left, None)


@pytest.mark.parametrize(
    ("opset", "kind", "close"),
    [
        (13, F32, (1e-4, 1e-5)),
        (17, F32, (1e-4, 1e-5)),
        (17, TensorProto.FLOAT16, (2e-3, 2e-3)),
        # The reference rounds sums that others keep in float32.
        (21, TensorProto.BFLOAT16, (6e-2, 6e-2)),
    ],
)
def test_encoders(target: Target, opset: int, kind: int, close: Close) -> None:
    agrees(
        encoder(opset, kind), SIZES[:2] if kind == TensorProto.BFLOAT16 else SIZES, target, close
    )


@pytest.mark.parametrize("form", ["dynamic", "QDQ", "QOperator"])
@pytest.mark.parametrize("saved", [False, True])
def test_quantised_encoders(target: Target, tmp_path: Path, form: str, saved: bool) -> None:
    """Also as ONNX Runtime saves what its optimiser makes of them."""
    path, made = tmp_path / "model.onnx", tmp_path / "quantised.onnx"
    onnx.save(encoder(), path)
    if form == "dynamic":
        quantize_dynamic(path, made)
    else:
        quantize_static(path, made, Samples(), quant_format=QuantFormat[form])
    if saved:
        made = optimised(made, tmp_path)
    agrees(onnx.load(made), SIZES, target, ROUNDED)


def optimised(path: Path, folder: Path) -> Path:
    chosen = ort.SessionOptions()
    chosen.optimized_model_filepath = str(folder / "optimised.onnx")
    chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(str(path), chosen)
    return folder / "optimised.onnx"


def test_what_the_optimiser_makes_of_an_encoder(target: Target, tmp_path: Path) -> None:
    onnx.save(encoder(), tmp_path / "model.onnx")
    made = onnx.load(optimised(tmp_path / "model.onnx", tmp_path))
    assert "com.microsoft" in {node.domain for node in made.graph.node}
    agrees(made, SIZES, target)


def decoder(opset: int = 14) -> ModelProto:
    """A past for keys and one for values in each layer, which each launch makes longer."""
    draft = Draft()
    mask = masked(draft, "mask", F32)
    x = draft.add("Gather", draft.weight(WORDS, WIDTH), "ids")
    names = [f"{what}{layer}" for layer in range(LAYERS) for what in ("k", "v")]
    for layer in range(LAYERS):
        q, k, v = (heads(draft, linear(draft, x, WIDTH, WIDTH)) for _ in "qkv")
        keys = draft.add("Concat", f"k{layer}", k, axis=2, out=f"k{layer}/now")
        values = draft.add("Concat", f"v{layer}", v, axis=2, out=f"v{layer}/now")
        x = block(draft, x, attention(draft, q, keys, values, mask), opset)
    draft.add("MatMul", x, draft.weight(WIDTH, WORDS), out="logits")
    past = [value(n, F32, ["batch", HEADS, "past", WIDTH // HEADS]) for n in names]
    inputs = [value("ids", I64, ["batch", "length"]), value("mask", I64, ["batch", "total"]), *past]
    return draft.model(inputs, ["logits", *(f"{name}/now" for name in names)], opset)


def step(batch: int, length: int, past: int) -> Feeds:
    rng = np.random.default_rng(past)
    shape = (batch, HEADS, past, WIDTH // HEADS)
    kept = {
        f"{what}{layer}": rng.standard_normal(shape, np.float32)
        for layer in range(LAYERS)
        for what in ("k", "v")
    }
    ids = rng.integers(0, WORDS, (batch, length))
    return {"ids": ids, "mask": np.ones((batch, length + past), np.int64), **kept}


@pytest.mark.parametrize("opset", [14, 17])
def test_decoders_with_a_cache(target: Target, opset: int) -> None:
    agrees(decoder(opset), [step(2, 5, 0), step(2, 1, 5), step(1, 3, 40), step(0, 1, 3)], target)


def merged() -> ModelProto:
    """With a cache and without, in the branches of an If: T5 as optimum writes it."""
    draft = Draft()
    scale = draft.weight(WIDTH, base=1.0)
    x = draft.add("Gather", draft.weight(WORDS, WIDTH), "ids")
    x = draft.add("SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=1e-6)
    shared = {name: draft.weight(WIDTH, WIDTH) for name in "kv"}

    def branch(cached: bool) -> GraphProto:
        inner = Draft()
        for name, weight in shared.items():
            split = inner.add("MatMul", x, weight, out=f"{name}/{cached}/0")
            shape = [0, 0, HEADS, WIDTH // HEADS]
            sizes = inner.add("Constant", out=f"{name}/{cached}/1", value_ints=shape)
            split = inner.add("Reshape", split, sizes, out=f"{name}/{cached}/2")
            turned = inner.add("Transpose", split, perm=[0, 2, 1, 3], out=f"{name}/{cached}/3")
            if cached:
                inner.add("Concat", f"{name}past", turned, axis=2, out=f"{name}/{cached}")
            else:
                inner.add("Identity", turned, out=f"{name}/{cached}")
        outputs = [value(f"{name}/{cached}", F32, None) for name in "kv"]
        return helper.make_graph(inner.nodes, str(cached), [], outputs)

    branches = {"then_branch": branch(True), "else_branch": branch(False)}
    draft.give("If", ["cached"], ["k", "v"], **branches)
    q = heads(draft, draft.add("MatMul", x, draft.weight(WIDTH, WIDTH)))
    draft.add("Identity", attention(draft, q, "k", "v", draft.const(0.0)), out="y")
    shape = ["batch", HEADS, "past", WIDTH // HEADS]
    inputs = [value("ids", I64, ["batch", "length"]), value("cached", BOOL, [1])]
    inputs += [value(f"{name}past", F32, shape) for name in "kv"]
    return draft.model(inputs, ["y", "k", "v"], 13)


def test_decoders_with_and_without_a_cache_in_branches(target: Target) -> None:
    def given(batch: int, length: int, past: int, cached: bool) -> Feeds:
        rng = np.random.default_rng(past)
        shape = (batch, HEADS, past, WIDTH // HEADS)
        kept = {f"{name}past": rng.standard_normal(shape, np.float32) for name in "kv"}
        ids = rng.integers(0, WORDS, (batch, length))
        return {"ids": ids, "cached": np.array([cached]), **kept}

    feeds = [given(2, 5, 0, False), given(2, 1, 5, True), given(1, 1, 0, True)]
    agrees(merged(), feeds, target)


def test_greedy_decoding_in_a_loop(target: Target) -> None:
    """The cache and the last word are states; it ends at a word, or after some turns."""
    draft, body = Draft(), Draft()
    table, out = draft.weight(WORDS, WIDTH, scale=0.5), draft.weight(WIDTH, WORDS, scale=0.5)
    first, end = draft.const([1]), draft.const(7)
    x = body.add("Unsqueeze", body.add("Gather", table, "word"), first, out="x")
    body.add("Concat", "past", x, axis=1, out="now")
    scores = body.add("MatMul", x, body.add("Transpose", "now", perm=[0, 2, 1]))
    mixed = body.add("MatMul", body.add("Softmax", scores, axis=-1), "now")
    logits = body.add("MatMul", body.add("Squeeze", mixed, first), out)
    body.add("ArgMax", logits, axis=1, keepdims=0, out="next")
    body.add("Identity", "next", out="said")
    ended = body.add("Cast", body.add("Equal", "next", end), to=I64)
    body.add("Not", body.add("Cast", body.add("ReduceMin", ended, keepdims=0), to=BOOL), out="on")
    shapes = {"word": (I64, ["batch"]), "past": (F32, ["batch", "p", WIDTH])}
    turn = helper.make_graph(
        body.nodes,
        "turn",
        [value("i", I64, []), value("go", BOOL, []), *(value(n, *s) for n, s in shapes.items())],
        [
            value("on", BOOL, []),
            value("next", I64, ["batch"]),
            value("now", F32, None),
            value("said", I64, ["batch"]),
        ],
    )
    sizes = draft.add("Concat", draft.add("Shape", "start"), draft.const([0, WIDTH]), axis=0)
    empty = draft.add("ConstantOfShape", sizes)
    draft.give("Loop", ["turns", "", "start", empty], ["last", "cache", "words"], body=turn)
    inputs = [value("start", I64, ["batch"]), value("turns", I64, [])]
    made = draft.model(inputs, ["cache", value("words", I64, None)], 17)
    starts = [([1, 2, 3], 10), ([4], 0), ([5], 30)]
    agrees(made, [{"start": np.array(s), "turns": np.array(t)} for s, t in starts], target)
