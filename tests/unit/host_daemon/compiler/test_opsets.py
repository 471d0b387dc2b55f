"""Models of opsets before 7: operands that lie along an axis, as they were then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.program import Target, compile_model
from tests.conformance.models import F32, graph, model, value
from vaccel.errors import Unsupported

SHAPE = (2, 3, 8, 8)
OPS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3,), 1), ((2,), 0), ((8,), 3), ((3, 8), 1), ((3, 8), -3), ((8,), None), ((), None)],
)
def test_operands_along_an_axis(
    target: Target, op: str, shape: tuple[int, ...], axis: int | None
) -> None:
    rng = np.random.default_rng(5)
    x, b = (rng.uniform(0.5, 2, each).astype(np.float32) for each in (SHAPE, shape))
    node = helper.make_node(op, ["x", "b"], ["y"], broadcast=1)
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    values = [value("x", F32, SHAPE), value("b", F32, shape)]
    made = model(graph([node], values, [value("y", F32, None)], [from_array(b, "b")]), 6)
    made.ir_version = 3
    found = compile_model(made.SerializeToString(), target).run({"x": x}, ["y"]).results["y"]
    behind = 0 if axis is None else len(SHAPE) - axis % len(SHAPE) - len(shape)
    expected = OPS[op](x, b.reshape((*shape, *(1,) * behind)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_operands_that_do_not_go_together_are_refused_in_words(target: Target) -> None:
    node = helper.make_node("Add", ["x", "b"], ["y"], broadcast=1)
    values = [value("x", F32, SHAPE), value("b", F32, (3,))]
    made = model(graph([node], values, [value("y", F32, None)]), 6)
    with pytest.raises(Unsupported, match=r"converted to it: Dimension \d") as caught:
        compile_model(made.SerializeToString(), target)
    assert "Assertion" not in caught.value.message
