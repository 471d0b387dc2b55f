"""Nodes within a container that the reference runs are counted and costed one by one."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper

from host_daemon.compiler.program import Target, compile_model
from host_daemon.devices.registry import find_card, load_card
from host_daemon.devices.registry import model as device_model
from tests.conformance.models import BOOL, I64, graph, model, value

NODE = helper.make_node
BF16 = TensorProto.BFLOAT16


def test_every_turn_and_only_the_branch_taken(tmp_path: Path) -> None:
    found = load_card(find_card("kcloud-1"))
    target = Target(device_model(found, found.profiles[0]), 1, tmp_path)
    # ONNX Runtime adds no bf16: all of the loop runs on the reference.
    then = graph([NODE("Add", ["m", "x"], ["a"], name="add")], [], [value("a", BF16, None)])
    orelse = graph(
        [NODE("Mul", ["m", "x"], ["b"], name="mul"), NODE("Neg", ["b"], ["c"], name="neg")],
        [],
        [value("c", BF16, None)],
    )
    body = graph(
        [
            NODE("Identity", ["go"], ["on"], name="pass"),
            NODE("MatMul", ["state", "x"], ["m"], name="product"),
            NODE("Less", ["turn", "one"], ["first"], name="less"),
            NODE("If", ["first"], ["next"], name="if", then_branch=then, else_branch=orelse),
        ],
        [value("turn", I64, []), value("go", BOOL, []), value("state", BF16, [4, 4])],
        [value("on", BOOL, []), value("next", BF16, [4, 4])],
    )
    node = NODE("Loop", ["trips", "", "x"], ["y"], body=body, name="loop")
    inputs = [value("x", BF16, [4, 4]), value("trips", I64, []), value("one", I64, [])]
    made = model(graph([node], inputs, [value("y", BF16, [4, 4])]))
    program = compile_model(made.SerializeToString(), target)
    eye = np.eye(4, dtype=np.float32).astype(ml_dtypes.bfloat16)
    given = {"x": eye, "trips": np.array(3), "one": np.array(1)}
    outcome = program.run(given, ["y"])
    # Three turns of Identity, MatMul and Less; Add in the first, Mul and Neg in the others.
    assert outcome.cost.nodes == {"array": 3, "reference": 3 + 3 + 1 + 2 * 2}
    assert outcome.cost.cycles["array"] > 0
    np.testing.assert_array_equal(np.diag(outcome.results["y"].astype(np.float32)), [2.0] * 4)
    again = program.run(given | {"trips": np.array(1)}, ["y"])
    assert again.cost.nodes == {"array": 1, "reference": 3}
