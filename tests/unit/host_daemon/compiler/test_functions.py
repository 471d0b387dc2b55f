"""Functions of a model: defaults of attributes, and opsets of their own."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from host_daemon.compiler.program import Target, compile_model

X = np.float32([[-1.0, 0.0, 2.0]])


def model(functions: list, nodes: list, opset: int = 21) -> bytes:
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["a", "b"]) for n in ("x", "y")]
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)]
    graph = helper.make_graph(nodes, "main", value[:1], value[1:])
    made = helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=10)
    return bytes(made.SerializeToString())


def elu(opset: int = 21) -> object:
    """Elu of an attribute with a default that is not the operator's."""
    node = helper.make_node("Elu", ["x"], ["y"])
    reference = node.attribute.add(name="alpha", ref_attr_name="alpha")
    reference.type = 1
    return helper.make_function(
        "custom",
        "MyElu",
        ["x"],
        ["y"],
        [node],
        [helper.make_opsetid("", opset)],
        attribute_protos=[helper.make_attribute("alpha", 2.0)],
    )


def run(target: Target, data: bytes) -> np.ndarray:
    return np.asarray(compile_model(data, target).run({"x": X}, ["y"]).results["y"])


@pytest.mark.parametrize("opset", [21, 18])
def test_a_call_gets_the_defaults_of_its_function(target: Target, opset: int) -> None:
    plain = helper.make_node("MyElu", ["x"], ["y"], domain="custom")
    given = helper.make_node("MyElu", ["x"], ["y"], domain="custom", alpha=3.0)
    for node, alpha in ((plain, 2.0), (given, 3.0)):
        found = run(target, model([elu(opset)], [node]))
        np.testing.assert_allclose(found, np.where(X > 0, X, alpha * np.expm1(X)), rtol=1e-6)


def test_a_call_within_a_function_gets_them_too(target: Target) -> None:
    outer = helper.make_function(
        "custom",
        "Outer",
        ["x"],
        ["y"],
        [helper.make_node("MyElu", ["x"], ["y"], domain="custom")],
        [helper.make_opsetid("", 21), helper.make_opsetid("custom", 1)],
    )
    data = model([elu(), outer], [helper.make_node("Outer", ["x"], ["y"], domain="custom")])
    np.testing.assert_allclose(run(target, data)[0, 0], 2 * np.expm1(-1.0), rtol=1e-6)


def test_a_function_may_import_what_the_model_does_not(target: Target) -> None:
    function = helper.make_function(
        "custom",
        "Fast",
        ["x"],
        ["y"],
        [helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft", alpha=1.0)],
        [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
    )
    data = model([function], [helper.make_node("Fast", ["x"], ["y"], domain="custom")])
    np.testing.assert_allclose(run(target, data), X / (1 + np.exp(-X)), rtol=1e-5)
