"""Operators of ONNX Runtime in ONNX's domain, and imports of domains as exporters write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.body import Whole
from host_daemon.compiler.program import Target, compile_model
from host_daemon.compiler.sessions import open_session, options, run
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.errors import InvalidModel, Unsupported

NODE = helper.make_node
PICTURE = (2, 3, 8, 8)


def agrees(made: ModelProto, inputs: dict[str, Any], target: Target) -> None:
    """One session of ONNX Runtime computes it, as it does by itself."""
    data = made.SerializeToString()
    program = compile_model(data, target)
    assert isinstance(program._body, Whole)
    (expected,) = run(open_session(data, options(1)), ["y"], inputs)
    np.testing.assert_array_equal(program.run(inputs, ["y"]).results["y"], expected)


def normalisation(op: str, opset: int, nested: bool = False) -> ModelProto:
    operands = ["x", "scale", "bias"] if op == "LayerNormalization" else ["x", "scale"]
    node = NODE(op, operands, ["n"], axis=-1, epsilon=1e-5, name="norm")
    weights = [from_array(np.linspace(0.5, 2, 8, dtype=np.float32), n) for n in ("scale", "bias")]
    inputs = [value("x", F32, ["b", "s", 8])]
    nodes = [node, NODE("Relu", ["n"], ["y"])]
    if nested:
        inputs.append(value("flag", BOOL, []))
        then = graph([node], [], [value("n", F32, None)])
        orelse = graph([NODE("Neg", ["x"], ["m"])], [], [value("m", F32, None)])
        nodes = [NODE("If", ["flag"], ["y"], then_branch=then, else_branch=orelse)]
    return model(graph(nodes, inputs, [value("y", F32, None)], weights), opset)


@pytest.mark.parametrize("op", ["LayerNormalization", "SimplifiedLayerNormalization"])
@pytest.mark.parametrize("opset", [9, 11, 16, 17, 21])
@pytest.mark.parametrize("nested", [False, True])
def test_normalisations_of_any_opset(target: Target, op: str, opset: int, nested: bool) -> None:
    x = np.random.default_rng(1).standard_normal((2, 5, 8), np.float32)
    inputs = {"x": x} | ({"flag": np.array(True)} if nested else {})
    agrees(normalisation(op, opset, nested), inputs, target)


@pytest.mark.parametrize(
    ("op", "settings"),
    [
        ("ThresholdedRelu", {"alpha": 1.0}),
        ("ParametricSoftplus", {"alpha": 1.0, "beta": 0.5}),
        ("ScaledTanh", {"alpha": 1.0, "beta": 0.5}),
        ("Affine", {"alpha": 2.0, "beta": 0.5}),
        ("Scale", {"scale": 2.0}),
        ("ImageScaler", {"scale": 2.0, "bias": [1.0, 2.0, 3.0]}),
        ("MeanVarianceNormalization", {"across_channels": 0, "normalize_variance": 1}),
        ("Crop", {"border": [1, 1, 1, 1]}),
    ],
)
@pytest.mark.parametrize("opset", [7, 8])
def test_operators_of_the_first_days(
    target: Target, op: str, opset: int, settings: dict[str, Any]
) -> None:
    node = NODE(op, ["x"], ["y"], **settings)
    made = model(graph([node], [value("x", F32, PICTURE)], [value("y", F32, None)]), opset)
    x = np.random.default_rng(2).standard_normal(PICTURE, np.float32)
    agrees(made, {"x": x}, target)


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("nested", [False, True])
def test_a_group_normalisation_that_onnx_took_back(
    target: Target, opset: int, nested: bool
) -> None:
    """With a scale and a bias for each group; the next one has them for each channel."""
    node = NODE("GroupNormalization", ["x", "s", "b"], ["n"], num_groups=2, epsilon=1e-3, name="it")
    operands = {"s": [2, 3], "b": [1, -1]}
    weights = [from_array(np.array(each, np.float32), n) for n, each in operands.items()]
    then = graph([node], [], [value("n", F32, None)])
    orelse = graph([NODE("Neg", ["x"], ["m"])], [], [value("m", F32, None)])
    holder = NODE("If", ["flag"], ["y"], then_branch=then, else_branch=orelse)
    nodes = [holder] if nested else [node, NODE("Neg", ["n"], ["y"])]
    inputs = [value("x", F32, ["b", 4, "h", "w"]), *([value("flag", BOOL, [])] if nested else [])]
    made = model(graph(nodes, inputs, [value("y", F32, None)], weights), opset)
    x = np.random.default_rng(3).standard_normal((2, 4, 3, 5), np.float32)
    grouped = x.reshape(2, 2, -1)
    spread = np.sqrt(grouped.var(-1, keepdims=True) + 1e-3)
    scaled = (grouped - grouped.mean(-1, keepdims=True)) / spread * [[[2], [3]]] + [[[1], [-1]]]
    expected = scaled.reshape(x.shape) * (1 if nested else -1)
    given = {"x": x} | ({"flag": np.array(True)} if nested else {})
    program = compile_model(made.SerializeToString(), target)
    np.testing.assert_allclose(program.run(given, ["y"]).results["y"], expected, 1e-4, 1e-5)


def test_shapes_and_statistics_are_inferred() -> None:
    made = normalisation("LayerNormalization", 11)
    made.graph.node[0].output.extend(["mean", "deviation"])
    made.graph.input[0].CopyFrom(value("x", F32, [2, 5, 8]))
    known = frontend.read(made.SerializeToString()).known
    assert [known[n].shape for n in ("y", "mean", "deviation")] == [(2, 5, 8), (2, 5, 1), (2, 5, 1)]


def test_operands_of_a_wrong_type_are_refused_by_name() -> None:
    made = normalisation("SimplifiedLayerNormalization", 17)
    made.graph.input[0].type.tensor_type.elem_type = I64
    with pytest.raises(InvalidModel, match=r"'norm'.*unsupported type"):
        frontend.read(made.SerializeToString())


def test_an_operator_that_nobody_knows_is_refused(target: Target) -> None:
    made = normalisation("SimplifiedLayerNormalizations", 17)
    with pytest.raises(InvalidModel, match=r"node 'norm' \(SimplifiedLayerNormalizations\)"):
        compile_model(made.SerializeToString(), target)


def relu(*imports: tuple[str, int]) -> ModelProto:
    made = model(
        graph([NODE("Relu", ["x"], ["y"])], [value("x", F32, [2])], [value("y", F32, [2])])
    )
    made.opset_import.extend(helper.make_opsetid(*each) for each in imports)
    return made


def scaler(*imports: tuple[str, int]) -> ModelProto:
    node = NODE("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    made = model(graph([node], [value("x", F32, [1, 2])], [value("y", F32, [1, 2])]))
    del made.opset_import[:]
    made.opset_import.extend(helper.make_opsetid(*each) for each in imports)
    return made


def test_what_no_node_uses_is_not_imported(target: Target) -> None:
    made = relu(("nobody.knows", 3), ("com.microsoft", 77), ("ai.onnx.ml", 99), ("ai.onnx.x", 1))
    checked = frontend.read(made.SerializeToString())
    assert [(o.domain, o.version) for o in checked.proto.opset_import] == [("", 18)]
    assert isinstance(compile_model(made.SerializeToString(), target)._body, Whole)


@pytest.mark.parametrize(
    "imports", [[("", 99), ("ai.onnx.ml", 1)], [("ai.onnx.ml", 2)], [("", 17)]]
)
def test_a_model_of_traditional_operators_alone(target: Target, imports: Any) -> None:
    program = compile_model(scaler(*imports).SerializeToString(), target)
    assert isinstance(program._body, Whole)
    x = np.array([[3, 4]], np.float32)
    assert program.run({"x": x}, ["y"]).results["y"].tolist() == [[4, 6]]


@pytest.mark.parametrize(("domain", "version"), [("ai.onnx.ml", 99), ("ai.onnx.ml", 0)])
def test_versions_that_nobody_knows_are_refused(domain: str, version: int) -> None:
    with pytest.raises(Unsupported, match=f"model's {domain} opset is {version}: 1 to"):
        frontend.read(scaler((domain, version), ("", 17)).SerializeToString())


def test_of_two_versions_the_last_counts(target: Target) -> None:
    made = relu(("ai.onnx", 17))
    made.opset_import[0].version = 6
    checked = frontend.read(made.SerializeToString())
    assert [(o.domain, o.version) for o in checked.proto.opset_import] == [("", 17)]
