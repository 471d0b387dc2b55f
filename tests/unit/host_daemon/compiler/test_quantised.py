"""A product is costed, and as a kernel computed, in the arithmetic that the model means."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.program import Target, compile_kernel, compile_model
from host_daemon.compiler.quantised import find_quantised
from host_daemon.core.device import ARITHMETIC
from host_daemon.devices.registry import find_card, load_card, model
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import DType, Port

NODE = helper.make_node
F32 = TensorProto.FLOAT


def target(tmp_path: Path, card: str = "kcloud-1") -> Target:
    found = load_card(find_card(card))
    return Target(model(found, found.profiles[0]), 1, tmp_path)


def qdq(weight: int = TensorProto.INT8, tail: bool = True) -> ModelProto:
    """Quantise, dequantise, multiply by dequantised weights, quantise, dequantise."""
    nodes = [
        NODE("QuantizeLinear", ["x", "s", "z"], ["xq"], name="q0"),
        NODE("DequantizeLinear", ["xq", "s", "z"], ["xd"], name="d0"),
        NODE("DequantizeLinear", ["w", "s", "wz"], ["wd"], name="dw"),
        NODE("MatMul", ["xd", "wd"], ["y" if not tail else "m"], name="product"),
    ]
    if tail:
        nodes.append(NODE("QuantizeLinear", ["m", "s", "z"], ["mq"], name="q1"))
        nodes.append(NODE("DequantizeLinear", ["mq", "s", "z"], ["y"], name="d1"))
    values = [
        from_array(np.array(0.1, np.float32), "s"),
        from_array(np.array(3, np.uint8), "z"),
        helper.make_tensor("wz", weight, [], [0]),
        helper.make_tensor("w", weight, [256, 128], [1] * (256 * 128)),
    ]
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", F32, [64, 256])],
        [helper.make_tensor_value_info("y", F32, [64, 128])],
        values,
    )
    opset = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def kernel(target_: Target, dtype: DType, **attributes: str):
    ports = (Port("", dtype, (64, 256)), Port("", dtype, (256, 128)))
    return compile_kernel(KernelSource("matmul", ports, attributes), target_)


def test_the_form_of_a_quantised_product() -> None:
    found = find_quantised(qdq())
    assert found.arithmetic == {"product": "int8"}
    assert found.requantised == {"product"}
    assert found.around == dict.fromkeys(("d0", "dw", "q1"), frozenset({"product"}))
    assert find_quantised(qdq(TensorProto.INT4)).arithmetic == {"product": "int4"}
    assert not find_quantised(qdq(tail=False)).requantised


def test_a_quantised_model_is_costed_in_int8(tmp_path: Path) -> None:
    program = compile_model(qdq().SerializeToString(), target(tmp_path))
    cost = program.estimate({"x": (64, 256)}, {})
    own = target(tmp_path).device
    joules = load_card(find_card("kcloud-1")).parameters
    macs = 64 * 256 * 128
    per_mac = joules.arithmetic["int8"].joules + joules.energy.register
    assert cost.joules["array"] == pytest.approx(macs * per_mac)
    # q0 and d1 on the vector core; what stands around the product costs nothing.
    assert cost.nodes == {"array": 1, "vector": 2}
    assert "int8" in own.arithmetic


def test_a_card_without_int8_computes_what_is_written(tmp_path: Path) -> None:
    plain = compile_model(qdq().SerializeToString(), target(tmp_path, "fake-1"))
    # All but the weights' constant dequantisation.
    assert plain.estimate({"x": (64, 256)}, {}).nodes == {"array": 1, "vector": 4}


def test_four_bit_weights_move_half_the_bytes(tmp_path: Path) -> None:
    eight, four = (
        compile_model(qdq(kind).SerializeToString(), target(tmp_path)).estimate(
            {"x": (64, 256)}, {}
        )
        for kind in (TensorProto.INT8, TensorProto.INT4)
    )
    assert eight.bytes["dram"] - four.bytes["dram"] == 256 * 128 // 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bf16", ml_dtypes.bfloat16),
        ("fp16", np.float16),
        ("fp8_e4m3", ml_dtypes.float8_e4m3fn),
        ("fp8_e5m2", ml_dtypes.float8_e5m2),
    ],
)
def test_a_kernel_computes_in_the_arithmetic_it_states(tmp_path: Path, name: str, kind) -> None:
    random = np.random.default_rng(0)
    a = random.normal(0, 1, (64, 256)).astype(np.float32)
    b = random.normal(0, 1, (256, 128)).astype(np.float32)
    program = kernel(target(tmp_path), DType.FLOAT32, arithmetic=name)
    given = program.run({"a": a, "b": b}, ["result"])
    exact = a.astype(kind).astype(np.float32) @ b.astype(kind).astype(np.float32)
    out = np.float16 if name == "fp16" else ml_dtypes.bfloat16
    assert np.array_equal(given.results["result"], exact.astype(out).astype(np.float32))
    plain = kernel(target(tmp_path), DType.FLOAT32).run({"a": a, "b": b}, ["result"])
    assert given.cost.critical_cycles < plain.cost.critical_cycles
    assert given.cost.joules["array"] < plain.cost.joules["array"]


def test_half_precision_is_costed_as_such_or_in_fp32(tmp_path: Path) -> None:
    shapes = {"a": (64, 256), "b": (256, 128)}
    macs = 64 * 256 * 128
    for card, arithmetic in (("kcloud-1", "fp16"), ("rngd", "fp32")):
        own = load_card(find_card(card)).parameters
        cost = kernel(target(tmp_path, card), DType.FLOAT16).estimate(shapes, {})
        per_mac = own.arithmetic[arithmetic].joules + own.energy.register
        assert cost.joules["array"] == pytest.approx(macs * per_mac)


def test_bfloat16_values_are_costed_as_such(tmp_path: Path) -> None:
    node = NODE("MatMul", ["a", "b"], ["c"], name="product")
    sides = {"a": [64, 256], "b": [256, 128], "c": [64, 128]}
    values = [
        helper.make_tensor_value_info(name, TensorProto.BFLOAT16, side)
        for name, side in sides.items()
    ]
    from host_daemon.compiler.analysis import analyse
    from host_daemon.compiler.plan import make_plan
    from host_daemon.compiler.trace import Executed

    built = helper.make_model(helper.make_graph([node], "g", values[:2], values[2:]))
    half = [(DType.BFLOAT16, tuple(side)) for side in sides.values()]
    run = Executed("product", "MatMul", tuple(half[:2]), tuple(half[2:]))
    plan = make_plan((run,), analyse(built), target(tmp_path).device)
    own = load_card(find_card("kcloud-1")).parameters
    per_mac = own.arithmetic["bf16"].joules + own.energy.register
    assert plan.cost.joules["array"] == pytest.approx(64 * 256 * 128 * per_mac)


def test_an_estimate_of_a_product_runs_nothing(tmp_path: Path, monkeypatch) -> None:
    program = kernel(target(tmp_path), DType.FLOAT32)
    monkeypatch.setattr(program, "_trace", lambda *_: pytest.fail("it was run"))
    assert program.estimate({"a": (64, 256), "b": (256, 128)}, {}).nodes == {"array": 1}


def test_an_arithmetic_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"matmul: the device does not compute in 'fp4'"):
        kernel(target(tmp_path), DType.FLOAT32, arithmetic="fp4")
    with pytest.raises(InvalidArgument, match=r"no attribute 'speed'") as caught:
        kernel(target(tmp_path), DType.FLOAT32, speed="high")
    assert "arithmetic" in caught.value.hint


def test_a_node_among_many_computes_in_what_it_states(tmp_path: Path) -> None:
    made = qdq()
    made.graph.node[3].metadata_props.add(key=ARITHMETIC, value="bf16")
    given = compile_model(made.SerializeToString(), target(tmp_path))
    x = {"x": np.random.default_rng(1).normal(size=(64, 256)).astype(np.float32)}
    stated = given.run(x, ["y"])
    plain = compile_model(qdq().SerializeToString(), target(tmp_path)).run(x, ["y"])
    assert stated.cost.joules["array"] > plain.cost.joules["array"]
    np.testing.assert_allclose(stated.results["y"], plain.results["y"], atol=1.0)


def test_a_statement_that_nobody_follows_is_refused(tmp_path: Path) -> None:
    made = qdq()
    made.graph.node[4].metadata_props.add(key=ARITHMETIC, value="bf16")
    with pytest.raises(Unsupported, match=r"'q1' \(QuantizeLinear\) states vaccel.arithmetic"):
        compile_model(made.SerializeToString(), target(tmp_path))
    made = qdq()
    made.graph.node[3].metadata_props.add(key=ARITHMETIC, value="fp4")
    with pytest.raises(Unsupported, match=r"kcloud-1.*fp4"):
        compile_model(made.SerializeToString(), target(tmp_path))
