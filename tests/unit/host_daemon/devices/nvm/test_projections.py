"""Products with constant weights as models write them: they run on tiles, in the right shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.program import CompiledProgram, Target
from host_daemon.devices.nvm.einsum import contraction
from vaccel.errors import InvalidArgument

from .conftest import Rig, error, normal

Compile = Callable[..., CompiledProgram]

ON_TILES = [
    ("MatMul", {}, (2, 7, 64), (64, 48)),
    ("MatMul", {}, (64,), (64, 48)),
    ("MatMul", {}, (7, 64), (1, 64, 48)),
    ("MatMul", {}, (64,), (1, 1, 64, 48)),
    ("MatMul", {}, (3, 2, 7, 64), (1, 64, 48)),
    ("Gemm", {"transA": 1, "transB": 1}, (64, 7), (48, 64)),
    ("Conv", {"group": 4}, (2, 64, 6, 6), (48, 16, 3, 3)),
    ("Einsum", {"equation": "bsd,dhk->bshk"}, (2, 7, 64), (64, 3, 16)),
    ("Einsum", {"equation": "bhsk,hkd->bsd"}, (2, 4, 7, 16), (4, 16, 48)),
    ("Einsum", {"equation": "b d s, e d -> b e s"}, (2, 64, 7), (48, 64)),
    ("Einsum", {"equation": "ij,jk"}, (7, 64), (64, 48)),
    ("Einsum", {"equation": "d,de->e"}, (64,), (64, 48)),
]
NOT = [
    ("MatMul", {}, (2, 7, 64), (2, 64, 48)),
    ("Einsum", {"equation": "bsd,bde->bse"}, (2, 7, 64), (2, 64, 48)),
    ("Einsum", {"equation": "sd,de->e"}, (7, 64), (64, 48)),
    ("Einsum", {"equation": "...d,de->...e"}, (2, 7, 64), (64, 48)),
]


def built(op: str, attributes: dict[str, Any], data: Any, weights: Any) -> bytes:
    node = helper.make_node(op, ["x", "w"], ["y"], name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializer=[from_array(normal(*weights, seed=9), "w")],
    )
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.parametrize(
    ("op", "attributes", "data", "weights", "place"),
    [(*each, "tiles") for each in ON_TILES] + [(*each, "digital") for each in NOT],
)
def test_where_a_product_runs_and_what_it_gives(
    rig: Callable[..., Rig], tmp_path: Path, op: str, attributes: Any, data: Any, weights: Any,
    place: str,
) -> None:
    model = built(op, attributes, data, weights)
    program = CompiledProgram(frontend.read(memoryview(model)), Target(rig().device(), 1, tmp_path))
    x = normal(*data, seed=10)
    outcome = program.run({"x": x}, ["y"])
    (exact,) = ort.InferenceSession(model).run(None, {"x": x})
    given = outcome.results["y"]
    assert given.shape == exact.shape
    assert outcome.cost.nodes == {place: 1}
    assert (1e-4 if place == "tiles" else -1) < error(given, exact) < 0.3
    if place == "tiles":
        # A vector takes one MVM, whatever the shapes: all tiles of a matrix work at once.
        weight = np.prod(weights)
        macs = exact.size * (weight / 48)
        assert outcome.cost.cycles["tiles"] == round(macs / weight) * 133
    program.close()


@pytest.mark.parametrize("equation", ["", "ij", "ij,jk,kl->il", "ii,ij->j", "i,j->ij", "x" * 300])
def test_what_is_no_product_with_one_matrix_is_none(equation: str) -> None:
    assert contraction(equation) is None


def test_data_that_does_not_fit_is_refused_by_shape() -> None:
    labels = contraction("bsd,de->bse")
    assert labels is not None
    with pytest.raises(InvalidArgument, match=r"\[2, 7, 63\] and \[64, 48\] do not fit bsd,de->"):
        labels.vectors(normal(2, 7, 63), (64, 48))
