"""Models with a node that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from tests.conformance.models import BOOL, F32, I64, TEXT, graph, model, value
from tests.integration.hostile_models.hostile import (
    Hostile,
    X,
    Y,
    add,
    adding_to,
    branching,
    changed,
    one,
)
from vaccel.errors import Exhausted, InvalidModel, Unsupported


def loop(trips: int) -> ModelProto:
    body = graph(
        [helper.make_node("Identity", ["go"], ["on"]), add("s", "x", "t")],
        [value("turn", I64, []), value("go", BOOL, []), value("s", F32, None)],
        [value("on", BOOL, []), value("t", F32, None)],
    )
    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], name="it", body=body)
    return model(graph([node], [X], [Y], [from_array(np.array(trips, np.int64), "trips")]))


def loop_of(outputs: int) -> ModelProto:
    made = loop(3)
    del made.graph.node[0].attribute[0].g.output[outputs:]
    return made


def quantised(op: str, scale: float, kind: Any = np.int8) -> ModelProto:
    consts = {"scale": np.float32(scale), "zero": kind(0)}
    taken = F32 if op == "QuantizeLinear" else TensorProto.INT8
    given = TensorProto.INT8 if op == "QuantizeLinear" else F32
    return one(op, "x", "scale", "zero", consts=consts, kind=taken, out=given)


def product(scale: float) -> ModelProto:
    consts: dict[str, Any] = {
        "as": np.float32(0.1),
        "az": np.uint8(0),
        "b": np.ones((4, 4), np.uint8),
        "bs": np.float32(scale),
        "bz": np.uint8(0),
        "ys": np.float32(1),
        "yz": np.uint8(0),
    }
    names = ("x", "as", "az", "b", "bs", "bz", "ys", "yz")
    kinds = {"kind": TensorProto.UINT8, "out": TensorProto.UINT8}
    return one("QLinearMatMul", *names, consts=consts, shape=["n", 4], **kinds)


CASES: list[Hostile] = []
case = adding_to(CASES)

case("unknown op", lambda: one("Frobnicate"), "'it'", "Frobnicate")
case(
    "unknown domain",
    lambda: one("Relu", domain="evil.corp"),
    "'it'",
    "evil.corp",
    kinds=(Unsupported,),
)
case(
    "domain in control characters",
    lambda: one("Relu", domain="a\x1b[2J"),
    "'it'",
    kinds=(Unsupported,),
)
case(
    "unknown contrib op",
    lambda: one("Frob", domain="com.microsoft"),
    "'it'",
    "Frob",
    kinds=(InvalidModel, Unsupported),
)
case("op in control characters", lambda: one("Re\x1b[2Jlu"), "'it'")
case("unknown attribute", lambda: one("Relu", frob=1), "'it'", "frob")
case("attribute of another type", lambda: one("Softmax", axis="one"), "'it'", "axis")
case(
    "attribute twice",
    lambda: changed(
        one("Softmax", axis=0),
        lambda m: m.graph.node[0].attribute.append(helper.make_attribute("axis", 1)),
    ),
    "'it'",
    "axis",
)
case(
    "no input", lambda: changed(one("Relu"), lambda m: m.graph.node[0].ClearField("input")), "'it'"
)
case("input left out", lambda: one("Add", "x", ""), "'it'")
case("too many operands", lambda: one("Relu", "x", "x"), "'it'")
case(
    "too many results",
    lambda: changed(one("Relu"), lambda m: m.graph.node[0].output.extend(["a", "b"])),
    "'it'",
)
case("float and int", lambda: one("Add", "x", "c", consts={"c": np.array([1])}), "'it'")
case("sum of strings", lambda: one("Add", "x", "x", kind=TEXT, out=TEXT), "'it'")
case("an output of another type", lambda: one("Relu", out=I64), "y")
case(
    "a value of type 99",
    lambda: changed(
        one("Relu"), lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)
    ),
    "99",
    kinds=(InvalidModel, Unsupported),
)
case(
    "shapes",
    lambda: one("MatMul", "x", "c", shape=[3, 4], consts={"c": np.ones((5, 6), np.float32)}),
    "'it'",
)
case(
    "broadcast",
    lambda: one("Add", "x", "c", shape=[3], consts={"c": np.ones(4, np.float32)}),
    "'it'",
)
case(
    "output's shape",
    lambda: changed(
        one("Relu", shape=[3]), lambda m: m.graph.output[0].CopyFrom(value("y", F32, [4]))
    ),
    "'it'",
)
case(
    "convolution",
    lambda: one(
        "Conv", "x", "c", shape=[1, 3, 8, 8], consts={"c": np.ones((4, 5, 3, 3), np.float32)}
    ),
    "'it'",
)
case("reshape", lambda: one("Reshape", "x", "c", shape=[6], consts={"c": np.array([4])}), "'it'")
case(
    "reshape twice -1",
    lambda: one("Reshape", "x", "c", shape=[6], consts={"c": np.array([-1, -1])}),
    "'it'",
)
case(
    "concat",
    lambda: one(
        "Concat", "x", "c", axis=0, shape=[2, 3], consts={"c": np.ones((2, 4), np.float32)}
    ),
    "'it'",
)
case("axis", lambda: one("Softmax", axis=7, shape=[2]), "'it'")
case("negative axis", lambda: one("Softmax", axis=-7, shape=[2]), "'it'")
case(
    "gather's axis",
    lambda: one("Gather", "x", "c", axis=-9, shape=[2], consts={"c": np.array([0])}),
    "'it'",
)
case("permutation", lambda: one("Transpose", perm=[0, 5], shape=[2, 3]), "'it'")
case("permutation twice", lambda: one("Transpose", perm=[0, 0], shape=[2, 3]), "'it'")
case("squeeze", lambda: one("Squeeze", "x", "c", shape=[2, 3], consts={"c": np.array([0])}), "'it'")
case(
    "stride 0",
    lambda: one("MaxPool", kernel_shape=[2, 2], strides=[0, 0], shape=[1, 1, 4, 4]),
    "'it'",
)
case("kernel 0", lambda: one("MaxPool", kernel_shape=[0, 0], shape=[1, 1, 4, 4]), "'it'")
case(
    "dilation 0",
    lambda: one(
        "Conv",
        "x",
        "c",
        dilations=[0, 0],
        shape=[1, 1, 4, 4],
        consts={"c": np.ones((1, 1, 2, 2), np.float32)},
    ),
    "'it'",
)
case(
    "group 0",
    lambda: one(
        "Conv",
        "x",
        "c",
        group=0,
        shape=[1, 1, 4, 4],
        consts={"c": np.ones((1, 1, 2, 2), np.float32)},
    ),
    "'it'",
)
case(
    "group too large",
    lambda: one(
        "Conv",
        "x",
        "c",
        group=1 << 40,
        shape=[1, 1, 4, 4],
        consts={"c": np.ones((1, 1, 2, 2), np.float32)},
    ),
    "'it'",
)
case(
    "pads",
    lambda: one("MaxPool", kernel_shape=[2, 2], pads=[1 << 40] * 4, shape=[1, 1, 4, 4]),
    "'it'",
    kinds=(InvalidModel, Exhausted),
)
case(
    "negative pads",
    lambda: one(
        "Conv",
        "x",
        "c",
        pads=[-9] * 4,
        shape=[1, 1, 4, 4],
        consts={"c": np.ones((1, 1, 2, 2), np.float32)},
    ),
    "'it'",
)
case("split", lambda: one("Split", "x", "c", shape=[4], consts={"c": np.array([9])}), "'it'")
case("split into 2^40", lambda: one("Split", num_outputs=1 << 40, shape=[4]), "'it'")
case(
    "step 0",
    lambda: one(
        "Slice",
        "x",
        "a",
        "b",
        "c",
        "d",
        shape=[4],
        consts={"a": np.array([0]), "b": np.array([2]), "c": np.array([0]), "d": np.array([0])},
    ),
    "'it'",
)
case(
    "top -1",
    lambda: changed(
        one("TopK", "x", "c", shape=[4], consts={"c": np.array([-1])}),
        lambda m: m.graph.node[0].output.append("at"),
    ),
    "'it'",
)
case(
    "one hot",
    lambda: one(
        "OneHot",
        "x",
        "d",
        "v",
        kind=I64,
        shape=[4],
        consts={"d": np.array(-5), "v": np.array([0, 1], np.float32)},
    ),
    "'it'",
)
case(
    "one hot, wide",
    lambda: one(
        "OneHot",
        "x",
        "d",
        "v",
        kind=I64,
        shape=[4],
        consts={"d": np.array(1 << 40), "v": np.array([0, 1], np.float32)},
    ),
    "'it'",
    "bytes",
    kinds=(InvalidModel, Exhausted),
)
case("cast to type 99", lambda: one("Cast", to=99), "'it'", kinds=(InvalidModel, Unsupported))
case("equation", lambda: one("Einsum", equation="ab,,->->", shape=[2, 2]), "'it'")
case("loop without end", lambda: loop((1 << 63) - 1), "'it'", "9223372036854775807")
case("loop of few results", lambda: loop_of(1), "'it'")
case(
    "if without branches",
    lambda: changed(
        branching(graph([], [], [])), lambda m: m.graph.node[0].ClearField("attribute")
    ),
    "'it'",
)
case("branches without results", lambda: branching(graph([], [], [])), "'it'")
case(
    "scan of nothing",
    lambda: one("Scan", num_scan_inputs=7, body=graph([], [], [value("x", F32, None)])),
    "'it'",
)
for op in ("QuantizeLinear", "DequantizeLinear"):
    for scale in (float("nan"), float("inf"), 0.0):
        case(
            f"{op}, scale {scale}", lambda op=op, scale=scale: quantised(op, scale), "'it'", "scale"
        )
case("product, scale nan", lambda: product(float("nan")), "'it'", "scale")
case(
    "zero point",
    lambda: one(
        "QuantizeLinear",
        "x",
        "s",
        "z",
        consts={"s": np.float32(1), "z": np.float32(0)},
        out=TensorProto.INT8,
    ),
    "'it'",
)
