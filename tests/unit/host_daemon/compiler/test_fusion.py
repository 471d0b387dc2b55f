"""Which nodes are fused into the product before them; what it costs, and that numbers stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.analysis import analyse
from host_daemon.compiler.fusion import LONGEST, find_fusions
from host_daemon.compiler.plan import Plan
from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from host_daemon.core.device import Epilogue, NodeCost, Operation
from host_daemon.devices.npu.device import NpuDevice
from host_daemon.devices.registry import find_card, load_card
from tests.conformance.models import BOOL, F32, I64, graph, value

NODE = helper.make_node
RNG = np.random.default_rng(1)


class Apart(NpuDevice):
    """The same card, which fuses nothing."""

    def fused(self, product: Operation, behind: Sequence[Epilogue]) -> Sequence[NodeCost]:
        return ()


def target(where: Path, kind: type[NpuDevice] = NpuDevice) -> Target:
    card = load_card(find_card("kcloud-1"))
    return Target(kind(card, card.profiles[0]), 1, where)


def weight(name: str, *shape: int) -> Any:
    return from_array(RNG.uniform(0.1, 1, shape).astype(np.float32), name)


def made(nodes: list[NodeProto], outputs: Sequence[str] = ("y",), **inputs: Any) -> ModelProto:
    """A network of 8 channels, 12 x 12; ``w`` keeps them, the rest are by channel."""
    constants = [weight("w", 8, 8, 3, 3), weight("b", 8, 1, 1), weight("p", 8, 1, 1)]
    constants += [weight(name, 8) for name in ("g", "o", "m", "v")]
    constants += [from_array(np.array(each, np.float32), n) for n, each in (("l", 0), ("h", 6))]
    taken = {name for node in nodes for name in node.input}
    taken |= {n for node in nodes for a in node.attribute for i in a.g.node for n in i.input}
    shown = graph(
        nodes,
        [value("x", F32, [1, 8, 12, 12]), *inputs.values()],
        [value(name, F32, None) for name in outputs],
    )
    shown.initializer.extend(each for each in constants if each.name in taken)
    opset = [helper.make_opsetid("", 21)]
    return helper.make_model(shown, opset_imports=opset, ir_version=10)


def conv(source: str, result: str, name: str = "product") -> NodeProto:
    return NODE("Conv", [source, "w"], [result], name=name, pads=[1, 1, 1, 1])


STEPS = {
    "bias": lambda a, y: NODE("Add", ["b", a], [y]),
    "residual": lambda a, y: NODE("Add", [a, "x"], [y]),
    "norm": lambda a, y: NODE("BatchNormalization", [a, "g", "o", "m", "v"], [y]),
    "clip": lambda a, y: NODE("Clip", [a, "l", "h"], [y]),
    "prelu": lambda a, y: NODE("PRelu", [a, "p"], [y]),
    **{
        op: lambda a, y, op=op: NODE(op, [a], [y])
        for op in ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Gelu", "Mish")
    },
}


def network(steps: Sequence[str]) -> ModelProto:
    nodes = [conv("x", "v0")]
    for at, step in enumerate(steps):
        node = STEPS[step](f"v{at}", "y" if at == len(steps) - 1 else f"v{at + 1}")
        node.name = f"n{at}"
        nodes.append(node)
    return made(nodes)


def compiled(proto: ModelProto, where: Target, arithmetic: str = "") -> CompiledProgram:
    return compile_model(proto.SerializeToString(), where, arithmetic=arithmetic)


def planned(program: CompiledProgram, **values: Any) -> Plan:
    return program.plan({"x": (1, 8, 12, 12), **{n: v.shape for n, v in values.items()}}, values)


def fused(plan: Plan) -> dict[str, str]:
    return {name: into for name, into in zip(plan.names, plan.fused, strict=True) if into}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5))
def test_a_fused_model_costs_no_more_and_computes_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    where = tmp_path_factory.mktemp("traces")
    proto = network(steps)
    one, other = compiled(proto, target(where)), compiled(proto, target(where, Apart))
    plan, apart = planned(one), planned(other)
    assert fused(plan) == {f"n{at}": "product" for at in range(len(steps))}
    assert not fused(apart) and plan.names == apart.names
    assert plan.cost.critical_cycles < apart.cost.critical_cycles
    assert plan.cost.total_joules < apart.cost.total_joules
    # What is between stays on the card: written and read by nobody.
    between = 8 * 12 * 12 * 4
    assert apart.cost.bytes["dram"] - plan.cost.bytes["dram"] == 2 * between * len(steps)
    assert plan.cost.nodes == apart.cost.nodes == {"array": 1, "vector": len(steps)}
    x = RNG.standard_normal((1, 8, 12, 12)).astype(np.float32)
    session = ort.InferenceSession(proto.SerializeToString())
    (wanted,) = session.run(None, {"x": x})
    for program in (one, other):
        for _ in range(2):
            np.testing.assert_array_equal(program.run({"x": x}, ["y"]).results["y"], wanted)


def chains(proto: ModelProto) -> dict[str, list[str]]:
    found = find_fusions(proto, analyse(proto))
    return {name: [link.name for link in links] for name, links in found.items()}


@pytest.mark.parametrize("second", ["asked", "taken", "captured"])
def test_a_result_that_others_want_is_written(second: str) -> None:
    nodes = [conv("x", "a"), NODE("Relu", ["a"], ["y"], name="relu")]
    inputs = {}
    if second == "taken":
        nodes.append(NODE("Neg", ["a"], ["z"], name="neg"))
    if second == "captured":
        yes = graph([NODE("Neg", ["a"], ["s"], name="yes")], [], [value("s", F32, None)])
        no = graph([NODE("Abs", ["a"], ["t"], name="no")], [], [value("t", F32, None)])
        choice = NODE("If", ["flag"], ["z"], name="if", then_branch=yes, else_branch=no)
        nodes.append(choice)
        inputs["flag"] = value("flag", BOOL, [])
    outputs = ("y", "a" if second == "asked" else "z")
    assert chains(made(nodes, outputs, **inputs)) == {}
    assert chains(made(nodes[:2])) == {"product": ["relu"]}


@pytest.mark.parametrize(
    "node",
    [
        NODE("Mul", ["a", "a"], ["y"]),
        NODE("Add", ["a", "a"], ["y"]),
        NODE("Softmax", ["a"], ["y"]),
        NODE("Clip", ["a", "bound"], ["y"]),
        NODE("PRelu", ["x", "a"], ["y"]),
        NODE("BatchNormalization", ["a", "g", "o", "m", "v"], ["y", "n", "r"], training_mode=1),
    ],
)
def test_what_is_no_epilogue(node: NodeProto) -> None:
    node.name = "node"
    bound = {"bound": value("bound", F32, [])} if "bound" in node.input else {}
    assert chains(made([conv("x", "a"), node], **bound)) == {}


def test_a_chain_has_an_end() -> None:
    found = chains(network(["Relu"] * (LONGEST + 3)))
    assert found == {"product": [f"n{at}" for at in range(LONGEST)]}


def test_a_sum_of_two_products_goes_with_the_later_one() -> None:
    nodes = [
        conv("x", "a", "first"),
        NODE("Relu", ["a"], ["r"], name="relu"),
        conv("x", "c", "second"),
        NODE("Add", ["c", "r"], ["s"], name="sum"),
        NODE("Relu", ["s"], ["y"], name="last"),
    ]
    assert chains(made(nodes)) == {"first": ["relu"], "second": ["sum", "last"]}
    # What the sum takes beside it must be there before the product: here neither's is.
    late = [nodes[0], nodes[2], NODE("Relu", ["a"], ["r"], name="relu"), *nodes[3:]]
    assert chains(made(late)) == {"first": ["relu"]}


def test_only_an_operand_of_the_results_shape_is_a_residual(tmp_path: Path) -> None:
    row = {"row": value("row", F32, [1, 8, 1, 1])}
    proto = made([conv("x", "a"), NODE("Add", ["a", "row"], ["y"], name="sum")], **row)
    assert chains(proto) == {"product": ["sum"]}
    program = compiled(proto, target(tmp_path))
    assert fused(planned(program, row=np.ones((1, 8, 1, 1), np.float32))) == {}


@pytest.mark.parametrize("arithmetic", ["bf16", "int8"])
def test_products_in_another_arithmetic_have_epilogues_too(
    tmp_path: Path, arithmetic: str
) -> None:
    proto = network(["bias", "Relu"])
    one = compiled(proto, target(tmp_path), arithmetic)
    other = compiled(proto, target(tmp_path, Apart), arithmetic)
    plan, apart = planned(one), planned(other)
    assert fused(plan) == {"n0": "product", "n1": "product"}
    assert plan.cost.critical_cycles < apart.cost.critical_cycles
    assert plan.cost.bytes["dram"] < apart.cost.bytes["dram"]
    x = RNG.standard_normal((1, 8, 12, 12)).astype(np.float32)
    given, wanted = (each.run({"x": x}, ["y"]).results["y"] for each in (one, other))
    np.testing.assert_array_equal(given, wanted)


def test_turns_of_a_loop_are_fused_each(tmp_path: Path) -> None:
    body = graph(
        [
            conv("s", "a"),
            NODE("Relu", ["a"], ["s2"], name="relu"),
            NODE("Identity", ["c"], ["c2"], name="go"),
        ],
        [value("i", I64, []), value("c", BOOL, []), value("s", F32, None)],
        [value("c2", BOOL, []), value("s2", F32, None)],
    )
    loop = NODE("Loop", ["trips", "", "x"], ["y"], name="loop", body=body)
    proto = made([loop], trips=value("trips", I64, []))
    one, other = compiled(proto, target(tmp_path)), compiled(proto, target(tmp_path, Apart))
    trips = np.array(3)
    plan, apart = planned(one, trips=trips), planned(other, trips=trips)
    assert plan.fused.count("product") == 3
    saved = apart.cost.critical_cycles - plan.cost.critical_cycles
    short = [planned(each, trips=np.array(1)).cost.critical_cycles for each in (other, one)]
    assert saved == 3 * (short[0] - short[1]) > 0


def test_another_type_ends_a_chain(tmp_path: Path) -> None:
    nodes = [
        conv("x", "a"),
        NODE("Relu", ["a"], ["r"], name="relu"),
        NODE("Cast", ["r"], ["d"], name="cast", to=11),
        NODE("Sigmoid", ["d"], ["e"], name="wide"),
        NODE("Cast", ["e"], ["y"], name="back", to=1),
    ]
    plan = planned(compiled(made(nodes), target(tmp_path)))
    assert fused(plan) == {"relu": "product"}


def test_a_quantised_product_stays_as_it_was(tmp_path: Path) -> None:
    scale = from_array(np.array(0.1, np.float32), "s")
    zero = from_array(np.array(3, np.uint8), "z")
    nodes = [
        NODE("QuantizeLinear", ["x", "s", "z"], ["xq"], name="q0"),
        NODE("DequantizeLinear", ["xq", "s", "z"], ["xd"], name="d0"),
        NODE("DequantizeLinear", ["wq", "s"], ["wd"], name="dw"),
        NODE("Conv", ["xd", "wd"], ["a"], name="product", pads=[1, 1, 1, 1]),
        NODE("Relu", ["a"], ["r"], name="relu"),
        NODE("QuantizeLinear", ["r", "s", "z"], ["rq"], name="q1"),
        NODE("DequantizeLinear", ["rq", "s", "z"], ["y"], name="d1"),
    ]
    proto = made(nodes)
    proto.graph.initializer.extend(
        [scale, zero, from_array(np.ones((8, 8, 3, 3), np.int8), "wq")]
    )
    assert chains(proto) == {}
    # Where it gives float32, what follows is fused.
    del proto.graph.node[5:]
    proto.graph.output[0].name = "r"
    plan = planned(compiled(proto, target(tmp_path)))
    assert fused(plan) == {"relu": "product"} and plan.cost.nodes == {"array": 1, "vector": 2}
