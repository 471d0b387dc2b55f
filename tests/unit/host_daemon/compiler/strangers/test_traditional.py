"""Text, and what scikit-learn's converters write: ai.onnx.ml in its versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.helper import make_map_type_proto, make_sequence_type_proto, make_tensor_type_proto

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.strangers.bench import (
    F32,
    F64,
    I64,
    TEXT,
    Draft,
    Feeds,
    agrees,
    value,
)

ML = "ai.onnx.ml"
ROWS = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)
FEEDS: list[Feeds] = [{"x": ROWS}, {"x": ROWS[:0]}, {"x": ROWS[:1]}]
COEFFICIENTS = ROWS.reshape(-1)[:12].tolist()


def texts(*words: str) -> np.ndarray[Any, Any]:
    return np.array(words, dtype=object)


def one(
    op: str, kinds: tuple[int, ...], shape: Any = ("n", 4), version: int = 3, **settings: Any
) -> ModelProto:
    """A node over rows, or over what its operand is of."""
    draft = Draft()
    names = ["y", "z"][: len(kinds) - 1]
    draft.give(op, ["x"], names, domain=ML, **settings)
    outputs = [value(n, kind, None) for n, kind in zip(names, kinds[1:], strict=True)]
    return draft.model([value("x", kinds[0], shape)], outputs, 17, ai_onnx_ml=version)


ROW_OPERATORS: dict[str, dict[str, Any]] = {
    "Scaler": {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5]},
    "Normalizer": {"norm": "L2"},
    "Binarizer": {"threshold": 0.1},
    "Imputer": {"imputed_value_floats": [1.0], "replaced_value_float": float(ROWS[0, 0])},
    "LinearRegressor": {"coefficients": COEFFICIENTS[:8], "intercepts": [0.1, 0.2], "targets": 2},
}


@pytest.mark.parametrize("op", ROW_OPERATORS)
@pytest.mark.parametrize("version", [1, 3, 5])
def test_rows(target: Target, op: str, version: int) -> None:
    agrees(one(op, (F32, F32), version=version, **ROW_OPERATORS[op]), FEEDS, target)


@pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC", "PROBIT"])
def test_linear_classes_with_a_map_of_each_row(target: Target, post: str) -> None:
    draft = Draft()
    settings = {"coefficients": COEFFICIENTS, "intercepts": [0.1, 0.2, 0.3], "multi_class": 1}
    settings |= {"classlabels_strings": ["a", "b", "c"], "post_transform": post}
    draft.give("LinearClassifier", ["x"], ["label", "scores"], domain=ML, **settings)
    draft.add("ZipMap", "scores", domain=ML, classlabels_strings=["a", "b", "c"], out="maps")
    pairs = make_map_type_proto(TEXT, make_tensor_type_proto(F32, []))
    maps = helper.make_value_info("maps", make_sequence_type_proto(pairs))
    inputs = [value("x", F32, ["n", 4])]
    made = draft.model(inputs, [value("label", TEXT, ["n"]), maps], 17, ai_onnx_ml=1)
    agrees(made, FEEDS, target)


@pytest.mark.parametrize("kernel", ["LINEAR", "RBF", "POLY", "SIGMOID"])
def test_support_vectors(target: Target, kernel: str) -> None:
    common = {"kernel_type": kernel, "kernel_params": [0.3, 0.1, 2.0], "rho": [0.1]}
    common |= {"support_vectors": ROWS[:5].reshape(-1).tolist()}
    common |= {"coefficients": [0.5, 0.3, -0.2, -0.4, -0.2]}
    labels = {"vectors_per_class": [2, 3], "classlabels_ints": [0, 1]}
    agrees(one("SVMClassifier", (F32, I64, F32), **common, **labels), FEEDS, target)
    agrees(one("SVMRegressor", (F32, F32), n_supports=5, **common), FEEDS, target)


def trees(classes: int, wide: bool) -> dict[str, Any]:
    """Three trees of three questions; ``wide``: in doubles, which version 3 has."""
    rng = np.random.default_rng(4)
    inner, nodes, count = range(3), range(7), range(3)
    leaves = [(t, n, c) for t in count for n in nodes if n not in inner for c in range(classes)]
    kind = "class" if classes > 1 else "target"
    found: dict[str, Any] = {
        "nodes_treeids": [t for t in count for _ in nodes],
        "nodes_nodeids": [n for _ in count for n in nodes],
        "nodes_featureids": [
            int(rng.integers(4)) if n in inner else 0 for _ in count for n in nodes
        ],
        "nodes_values": rng.standard_normal(21).tolist(),
        "nodes_modes": ["BRANCH_LEQ" if n in inner else "LEAF" for _ in count for n in nodes],
        "nodes_truenodeids": [2 * n + 1 if n in inner else 0 for _ in count for n in nodes],
        "nodes_falsenodeids": [2 * n + 2 if n in inner else 0 for _ in count for n in nodes],
        f"{kind}_treeids": [t for t, _, _ in leaves],
        f"{kind}_nodeids": [n for _, n, _ in leaves],
        f"{kind}_ids": [c for _, _, c in leaves],
        f"{kind}_weights": rng.uniform(0, 1, len(leaves)).tolist(),
    }
    for name in ("nodes_values", f"{kind}_weights") if wide else ():
        numbers = found.pop(name)
        found[f"{name}_as_tensor"] = helper.make_tensor(name, F64, [len(numbers)], numbers)
    return found


@pytest.mark.parametrize(("version", "wide"), [(1, False), (3, False), (3, True)])
def test_forests(target: Target, version: int, wide: bool) -> None:
    kind = F64 if wide else F32
    labels = {"classlabels_int64s": [0, 1, 2], "post_transform": "SOFTMAX"}
    classes = one(
        "TreeEnsembleClassifier", (kind, I64, F32), version=version, **trees(3, wide), **labels
    )
    mean = {"n_targets": 1, "aggregate_function": "AVERAGE"}
    numbers = one("TreeEnsembleRegressor", (kind, F32), version=version, **trees(1, wide), **mean)
    feeds = [{"x": each["x"].astype(np.float64 if wide else np.float32)} for each in FEEDS]
    agrees(classes, feeds, target)
    agrees(numbers, feeds, target)


def test_the_forest_of_version_5(target: Target) -> None:
    tensors = {
        "nodes_splits": helper.make_tensor("s", F32, [3], [0.1, 0.2, 0.3]),
        "nodes_modes": helper.make_tensor("m", 2, [3], [0, 0, 0]),
        "leaf_weights": helper.make_tensor("w", F32, [4], [1.0, 2.0, 3.0, 4.0]),
    }
    lists = {
        "tree_roots": [0],
        "nodes_featureids": [0, 1, 2],
        "nodes_truenodeids": [1, 0, 2],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falsenodeids": [2, 1, 3],
        "nodes_falseleafs": [0, 1, 1],
        "leaf_targetids": [0, 1, 0, 1],
    }
    agrees(
        one("TreeEnsemble", (F32, F32), version=5, n_targets=2, **tensors, **lists), FEEDS, target
    )


WORDS = {"x": texts("a", "b", "z")}
NUMBERS = {"x": np.array([1, 2, 9])}
ENCODERS: dict[str, tuple[ModelProto, Feeds]] = {
    "words": (
        one("LabelEncoder", (TEXT, I64), ["n"], 2, keys_strings=["a", "b"], values_int64s=[1, 2]),
        WORDS,
    ),
    "numbers": (
        one("LabelEncoder", (I64, TEXT), ["n"], 2, keys_int64s=[1, 2], values_strings=["p", "q"]),
        NUMBERS,
    ),
    "version 1": (one("LabelEncoder", (TEXT, I64), ["n"], 1, classes_strings=["a", "b"]), WORDS),
    "columns": (one("OneHotEncoder", (TEXT, F32), ["n"], 1, cats_strings=["a", "z"]), WORDS),
    "numbers in columns": (one("OneHotEncoder", (I64, F32), ["n"], 1, cats_int64s=[1, 9]), NUMBERS),
    "categories": (
        one("CategoryMapper", (TEXT, I64), ["n"], 1, cats_strings=["a"], cats_int64s=[3]),
        WORDS,
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_labels(target: Target, name: str) -> None:
    made, given = ENCODERS[name]
    agrees(made, given, target)


def plain(op: str, kinds: tuple[int, ...], opset: int, **settings: Any) -> ModelProto:
    draft = Draft()
    names = ["y", "z"][: len(kinds)]
    draft.give(op, ["x"], names, **settings)
    outputs = [value(n, kind, None) for n, kind in zip(names, kinds, strict=True)]
    return draft.model([value("x", TEXT, ["n"])], outputs, opset)


GRAMS = {"mode": "TFIDF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1}
GRAMS |= {"ngram_counts": [0, 2], "ngram_indexes": [0, 1, 2], "weights": [1.0, 2.0, 3.0]}
TEXTS = {
    "normalised": plain("StringNormalizer", (TEXT,), 10, case_change_action="LOWER"),
    "stop words": plain("StringNormalizer", (TEXT,), 10, stopwords=["b c"], is_case_sensitive=1),
    "counted": plain("TfIdfVectorizer", (F32,), 9, pool_strings=["a", "b c", "a", "b c"], **GRAMS),
    "split": plain("StringSplit", (TEXT, I64), 20, delimiter=" ", maxsplit=2),
    "matched": plain("RegexFullMatch", (9,), 20, pattern="[a-z ]+"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(target: Target, name: str) -> None:
    agrees(TEXTS[name], {"x": texts("a", "b c", "ÄÖ é", "a")}, target)
