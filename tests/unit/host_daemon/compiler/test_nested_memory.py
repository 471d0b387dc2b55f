"""What branches, loops and scans hold while they run, and what fused nodes no longer do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import bodies, frontend
from host_daemon.compiler.analysis import analyse
from host_daemon.compiler.fused_values import Fuser
from host_daemon.compiler.inference import infer
from host_daemon.compiler.memory_plan import Fit, MemoryPlan, plan
from host_daemon.compiler.program import Target, compile_model
from host_daemon.devices.registry import find_card, load_card
from host_daemon.devices.registry import model as device_model
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from tests.unit.host_daemon.compiler.test_fusion import conv, made
from vaccel.errors import Exhausted

NODE = helper.make_node


def planned(
    proto: ModelProto, values: Mapping[str, Any] | None = None, **shapes: tuple[int, ...]
) -> MemoryPlan:
    checked = frontend.read(proto.SerializeToString())
    given = dict(values or {})
    known = infer(checked.proto, shapes or None, given)
    return plan(checked.proto, known, 0, values=given)


def live(found: MemoryPlan) -> list[int]:
    return [each.live_bytes for each in found.held]


def wide(source: str, result: str, name: str) -> list[NodeProto]:
    """400 bytes into 4 of them, over one value of 800."""
    return [
        NODE("Concat", [source, source], [f"{result}w"], name=f"{name}wide", axis=0),
        NODE("ReduceSum", [f"{result}w"], [result], name=f"{name}sum", keepdims=1),
    ]


def choice(condition: str = "flag", extra: Sequence[NodeProto] = ()) -> ModelProto:
    yes = graph(wide("x", "s", "yes"), [], [value("s", F32, None)])
    no = graph(
        [NODE("ReduceSum", ["x"], ["t"], name="no", keepdims=1)], [], [value("t", F32, None)]
    )
    node = NODE("If", [condition], ["y"], name="if", then_branch=yes, else_branch=no)
    inputs = [value("x", F32, ["n"]), value("flag", BOOL, [])]
    return model(graph([*extra, node], inputs, [value("y", F32, None)]))


def test_how_much_is_inferred_of_nested_graphs_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "NODES_INFERRED", 3)
    found = planned(choice(), x=(100,))
    assert live(found) == [401 + 804] and found.unknown == 0
    # The smaller branch alone, which comes first.
    monkeypatch.setattr(bodies, "NODES_INFERRED", 2)
    found = planned(choice(), x=(100,))
    assert live(found) == [401 + 4] and found.unknown == 2


def test_a_choice_holds_what_the_larger_branch_does() -> None:
    found = planned(choice(), x=(100,))
    assert live(found) == [400 + 1 + 800 + 4]
    assert found.peak.where == "'yessum' ('ReduceSum') in 'if' ('If')"
    assert (found.peak.largest, found.peak.largest_bytes) == ("sw", 800)


@pytest.mark.parametrize(("taken", "most"), [(True, 800 + 4), (False, 4)])
def test_a_condition_that_is_known_takes_its_branch(taken: bool, most: int) -> None:
    constant = NODE("Constant", [], ["c"], name="c", value=from_array(np.array(taken)))
    assert planned(choice("c", [constant]), x=(100,)).peak.live_bytes == 401 + most
    assert planned(choice(), {"flag": np.array(taken)}, x=(100,)).peak.live_bytes == 401 + most


def looped(body: GraphProto, **also: Any) -> ModelProto:
    loop = NODE("Loop", ["trips", "", "x"], ["y", *also.pop("stacked", [])], name="l", body=body)
    outputs = [value(name, F32, None) for name in also.pop("outputs", ["y"])]
    inputs = [value("x", F32, ["n"]), value("trips", I64, [])]
    return model(graph([loop, *also.pop("then", [])], inputs, outputs))


def body(*nodes: NodeProto, results: Sequence[str] = ("s2",)) -> GraphProto:
    inputs = [value("i", I64, []), value("c", BOOL, []), value("s", F32, None)]
    given = [value("c2", BOOL, []), *(value(name, F32, None) for name in results)]
    return graph([*nodes, NODE("Identity", ["c"], ["c2"], name="go")], inputs, given)


def test_a_loop_holds_one_turn_and_the_state_that_came() -> None:
    turn = body(*wide("s", "m", "in"), NODE("Add", ["s", "m"], ["s2"], name="out"))
    found = planned(looped(turn), x=(100,))
    # x, whose place the state takes, and trips; in the turn i, c, and then wide and its sum.
    assert live(found) == [400 + 8 + (8 + 1) + 800 + 4]
    assert found.peak.where == "'insum' ('ReduceSum') in 'l' ('Loop')"
    # Where x is wanted later, the state is beside it.
    later = looped(turn, then=[NODE("Add", ["x", "y"], ["z"], name="z")], outputs=["z"])
    assert live(planned(later, x=(100,)))[0] == 400 + 8 + 9 + 400 + 804
    # The state leaves as it came: its size is known, of which ONNX knows nothing, nor of z.
    assert live(planned(later, x=(100,)))[1] == 800


def test_what_a_loop_stacks_is_held_with_each_turn() -> None:
    turn = body(
        NODE("Relu", ["s"], ["s2"], name="relu"),
        *wide("s", "slice", "in"),
        results=("s2", "slice"),
    )
    proto = looped(turn, stacked=["z"], outputs=["y", "z"])
    # Of unknown turns nobody knows how much it is.
    unknown = planned(proto, x=(100,))
    assert live(unknown) == [400 + 8 + 9 + 400 + 800 + 4] and unknown.unknown == 1
    known = planned(proto, {"trips": np.array(50)}, x=(100,))
    assert live(known) == [400 + 8 + 9 + 400 + 800 + 4 + 50 * 4] and known.unknown == 0
    assert live(planned(proto, {"trips": np.array(0)}, x=(100,)))[0] == 400 + 8 + 400


def test_a_state_that_grows_counts_as_in_its_first_turn() -> None:
    turn = body(NODE("Concat", ["s", "s"], ["s2"], name="grow", axis=0))
    found = planned(looped(turn), x=(100,))
    assert live(found) == [400 + 8 + 9 + 800 + 1] and found.unknown == 1


def test_a_scan_holds_slices_of_one_turn() -> None:
    turn = graph(
        [
            NODE("Concat", ["a", "a", "a"], ["w"], name="wide", axis=0),
            NODE("ReduceSum", ["w"], ["m"], name="m", keepdims=1),
            NODE("Add", ["s", "m"], ["s2"], name="add"),
            NODE("Neg", ["a"], ["b"], name="neg"),
        ],
        [value("s", F32, None), value("a", F32, None)],
        [value("s2", F32, None), value("b", F32, None)],
    )
    node = NODE(
        "Scan", ["x", "rows"], ["y", "z"], name="scan", body=turn,
        num_scan_inputs=1, scan_input_axes=[-1],
    )  # fmt: skip
    inputs = [value("x", F32, [1]), value("rows", F32, [10, "n"])]
    proto = model(graph([node], inputs, [value("y", F32, None), value("z", F32, None)]))
    found = planned(proto, x=(1,), rows=(10, 7))
    # x and rows; z, which is stacked; a slice, three of them, and their sum.
    assert live(found) == [4 + 280 + 280 + 40 + 120 + 4] and found.unknown == 0
    assert found.peak.where == "'m' ('ReduceSum') in 'scan' ('Scan')"


def test_graphs_within_graphs_add_up() -> None:
    deep = graph(wide("s", "a", "deep"), [], [value("a", F32, None)])
    flat = graph([NODE("ReduceMax", ["s"], ["b"], name="flat")], [], [value("b", F32, None)])
    turn = body(
        NODE("Abs", ["s"], ["k"], name="abs"),
        NODE("If", ["c"], ["m"], name="if", then_branch=deep, else_branch=flat),
        NODE("Add", ["k", "m"], ["s2"], name="out"),
    )
    found = planned(looped(turn), x=(100,))
    assert live(found) == [400 + 8 + 9 + 400 + 804]
    assert found.peak.where == "'deepsum' ('ReduceSum') in 'l' ('Loop')"


def test_what_a_body_captures_decides_shapes_there() -> None:
    turn = body(
        NODE("Expand", ["s", "to"], ["e"], name="expand"),
        NODE("ReduceSum", ["e"], ["m"], name="sum", keepdims=1),
        NODE("Add", ["s", "m"], ["s2"], name="out"),
    )
    loop = NODE("Loop", ["trips", "", "x"], ["y"], name="l", body=turn)
    inputs = [value("x", F32, [1]), value("trips", I64, []), value("to", I64, [1])]
    proto = model(graph([loop], inputs, [value("y", F32, None)]))
    checked = frontend.read(proto.SerializeToString())
    fit = Fit(checked.proto, 0, 1 << 20)
    x, trips = np.zeros(1, np.float32), np.array(3)
    fit.check({"x": x, "trips": trips, "to": np.array([100])}, ["to", "trips"])
    words = r"'sum' \('ReduceSum'\) in 'l' \('Loop'\): .*'e' with 8000000 bytes\): 6951457 more"
    with pytest.raises(Exhausted, match=words):
        fit.check({"x": x, "trips": trips, "to": np.array([2_000_000])}, ["to", "trips"])


def test_a_launch_whose_loop_does_not_fit_is_refused(tmp_path: Path) -> None:
    turn = body(*wide("s", "m", "in"), NODE("Add", ["s", "m"], ["s2"], name="out"))
    data = looped(turn).SerializeToString()
    card = load_card(find_card("kcloud-1"))
    program = compile_model(
        data, Target(device_model(card, card.profiles[0]), 1, tmp_path, 1 << 20)
    )
    x = np.zeros(1000, np.float32)
    assert program.run({"x": x, "trips": np.array(2)}, ["y"]).results["y"].shape == (1000,)
    with pytest.raises(Exhausted, match=r"'insum' \('ReduceSum'\) in 'l' \('Loop'\)"):
        program.run({"x": np.zeros(100_000, np.float32), "trips": np.array(2)}, ["y"])


def fusing(proto: ModelProto) -> tuple[MemoryPlan, MemoryPlan]:
    """The plan on a card that fuses, and on one that does not."""
    checked = frontend.read(proto.SerializeToString())
    known = infer(checked.proto)
    card = load_card(find_card("kcloud-1"))
    device = device_model(card, card.profiles[0])
    fuser = Fuser.of(checked.proto, analyse(checked.proto), device)
    return plan(checked.proto, known, 0, fuser), plan(checked.proto, known, 0)


def test_what_is_between_fused_nodes_takes_no_memory() -> None:
    nodes = [
        NODE("Abs", ["x"], ["r"], name="abs"),
        conv("x", "a"),
        NODE("Relu", ["a"], ["u"], name="relu"),
        NODE("Add", ["u", "r"], ["s"], name="add"),
        NODE("Sigmoid", ["s"], ["y"], name="last"),
    ]
    one = 8 * 12 * 12 * 4
    fused, apart = fusing(made(nodes))
    # x r | x r a | r a b | r b s | s y, where x goes with the product and r with the sum
    assert live(apart) == [2 * one, 3 * one, 3 * one, 3 * one, 2 * one]
    # x r | x r y, and nothing more is made
    assert live(fused) == [2 * one, 3 * one, one, one, one]
    assert fused.peak.node == "'product' ('Conv')"


def test_nobody_asks_what_is_fused_before_shapes_are_known(tmp_path: Path) -> None:
    proto = made([conv("x", "a"), NODE("Relu", ["a"], ["y"], name="relu")])
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = -1
    card = load_card(find_card("kcloud-1"))
    target = Target(device_model(card, card.profiles[0]), 1, tmp_path, 1 << 20)
    program = compile_model(proto.SerializeToString(), target)
    plan = program.plan({"x": (1, 8, 12, 12)}, {})
    assert plan.fused == ("", "product")


@pytest.mark.parametrize("side", [1 << 20, 1 << 31, 1 << 62])
def test_sizes_beyond_all_memory_are_refused_by_name(tmp_path: Path, side: int) -> None:
    proto = made([conv("x", "a"), NODE("Relu", ["a"], ["y"], name="relu")])
    shape = proto.graph.input[0].type.tensor_type.shape
    shape.dim[2].dim_value = shape.dim[3].dim_value = side
    card = load_card(find_card("kcloud-1"))
    target = Target(device_model(card, card.profiles[0]), 1, tmp_path, 1 << 40)
    with pytest.raises(Exhausted, match="'product'"):
        compile_model(proto.SerializeToString(), target)


def test_a_model_that_fits_since_its_nodes_are_fused_is_launched(tmp_path: Path) -> None:
    one = 8 * 12 * 12 * 4
    proto = made([
        conv("x", "a"),
        NODE("Relu", ["a"], ["u"], name="relu"),
        NODE("Concat", ["u", "x"], ["y"], name="both", axis=1),
    ])  # fmt: skip
    fused, apart = fusing(proto)
    assert live(fused) == [2 * one, 2 * one, 4 * one]
    assert live(apart) == [2 * one, 3 * one, 4 * one]
    chain = made([conv("x", "a"), NODE("Relu", ["a"], ["u"], name="relu"), conv("u", "y", "c")])
    assert [live(each) for each in fusing(chain)] == [[2 * one, one, 2 * one], [2 * one] * 3]
    deep = made([conv("x", "a"), *(
        NODE("Add", ["a" if not n else f"v{n}", "x"], [f"v{n + 1}" if n < 2 else "y"], name=f"n{n}")
        for n in range(3)
    )])  # fmt: skip
    assert [each.peak.live_bytes for each in fusing(deep)] == [2 * one, 3 * one]
    card = load_card(find_card("kcloud-1"))
    device = device_model(card, card.profiles[0])
    weights = 8 * 8 * 9 * 4
    target = Target(device, 1, tmp_path, weights + 2 * one)
    x = np.ones((1, 8, 12, 12), np.float32)
    program = compile_model(deep.SerializeToString(), target)
    assert program.run({"x": x}, ["y"]).cost.nodes == {"array": 1, "vector": 3}
    with pytest.raises(Exhausted, match=r"'product' \('Conv'\): .* 1 more than"):
        compile_model(
            deep.SerializeToString(), Target(device, 1, tmp_path, weights + 2 * one - 1)
        )
