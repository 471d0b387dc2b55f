"""Models that mean harm, each with what is said of it. None of them may be loaded.

Each entry: what the model's author tried, the bytes, the error, and words that its text must hold:
the node or tensor at fault, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from tests.conformance.models import BOOL, F32, I64, TEXT, graph, model, value
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidModel, Unsupported, VaccelError

X, Y = value("x", F32, ["n"]), value("y", F32, ["n"])
GIB = 1 << 30


@dataclass(frozen=True)
class Hostile:
    name: str
    make: Callable[[], bytes]
    words: tuple[str, ...]
    kinds: tuple[type[VaccelError], ...] = (InvalidModel,)


CASES: list[Hostile] = []


def case(
    name: str,
    made: Callable[[], ModelProto | bytes],
    *words: str,
    kinds: tuple[type[VaccelError], ...] = (InvalidModel,),
) -> None:
    def make() -> bytes:
        given = made()
        return given if isinstance(given, bytes) else given.SerializeToString()

    CASES.append(Hostile(name, make, words, kinds))


# --- building blocks ------------------------------------------------------------------------


def one(op: str, *inputs: str, **attributes: Any) -> ModelProto:
    """One node named "it" over x[n], with constants c0, c1 ... where inputs say so."""
    domain = attributes.pop("domain", "")
    shape = attributes.pop("shape", ["n"])
    consts = attributes.pop("consts", {})
    kind = attributes.pop("kind", F32)
    out = attributes.pop("out", F32)
    node = helper.make_node(op, inputs or ("x",), ["y"], name="it", domain=domain, **attributes)
    weights = [from_array(np.asarray(array), name) for name, array in consts.items()]
    made = model(graph([node], [value("x", kind, shape)], [value("y", out, None)], weights))
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def weighted(tensor: TensorProto) -> ModelProto:
    node = helper.make_node("Add", ["x", tensor.name], ["y"], name="it")
    return model(graph([node], [X], [Y], [tensor]))


def outside(location: str | None, **more: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=F32, dims=[2], data_location=TensorProto.EXTERNAL)
    if location is not None:
        tensor.external_data.add(key="location", value=location)
    for key, text in more.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def constant(tensor: TensorProto) -> NodeProto:
    return helper.make_node("Constant", [], ["c"], name="it", value=tensor)


def in_constant() -> ModelProto:
    return model(graph([constant(outside("../w")), add("x", "c", "y")], [X], [Y]))


def add(left: str, right: str, out: str, name: str = "sum") -> NodeProto:
    return helper.make_node("Add", [left, right], [out], name=name)


def branching(body: GraphProto) -> ModelProto:
    node = helper.make_node("If", ["flag"], ["y"], name="it", then_branch=body, else_branch=body)
    return model(graph([node], [X, value("flag", BOOL, [])], [Y]))


def in_branch() -> ModelProto:
    inner = graph([add("x", "w", "inner")], [], [value("inner", F32, None)], [outside("C:\\w")])
    return branching(inner)


def in_function() -> ModelProto:
    body = [constant(outside("file:///etc/shadow")), add("i", "c", "o")]
    made = one("f", domain="mine")
    ids = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("mine", "f", ["i"], ["o"], body, ids))
    return made


def sparse(values: TensorProto, indices: TensorProto, dims: list[int]) -> ModelProto:
    made = weighted(from_array(np.ones(2, np.float32), "w"))
    del made.graph.initializer[:]
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))
    return made


def sparse_outside(which: str) -> ModelProto:
    values = from_array(np.ones(2, np.float32), "w")
    indices = from_array(np.array([0, 1], np.int64), "at")
    if which == "values":
        values = outside("/etc/passwd")
    else:
        indices = outside("/etc/passwd")
        indices.data_type = I64
    return sparse(values, indices, [2])


def in_tensor_list() -> ModelProto:
    made = one("Relu")
    made.graph.node[0].attribute.add(name="more", type=9, tensors=[outside("/dev/zero")])
    return made


def resized(dims: list[int], kind: int = F32, **data: Any) -> ModelProto:
    return weighted(TensorProto(name="w", data_type=kind, dims=dims, **data))


def chain(length: int) -> ModelProto:
    names = ["x", *(f"v{n}" for n in range(1, length)), "y"]
    nodes = [
        helper.make_node("Relu", names[n : n + 1], names[n + 1 : n + 2]) for n in range(length)
    ]
    return model(graph(nodes, [X], [Y]))


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def spliced(inner: bytes, base: ModelProto | None = None) -> bytes:
    """A good model with more bytes in its graph."""
    return (base or one("Relu")).SerializeToString() + field(7, inner)


def million_nodes() -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu")
    return spliced(field(1, node) * 1_000_000)


def nested(depth: int) -> bytes:
    """Branches within branches, written from the inside out."""
    inner = field(1, field(2, b"o") + field(1, b"x") + field(4, b"Identity"))
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, inner) + b"\xa0\x01\x05"
        inner = field(
            1,
            field(1, b"c")
            + field(2, b"o")
            + field(3, b"deep")
            + field(4, b"If")
            + field(5, attribute),
        )
    return spliced(inner)


def function(name: str, calls: list[str]) -> FunctionProto:
    nodes = [
        helper.make_node(call, ["i"], [f"o{n}"], domain="mine") for n, call in enumerate(calls)
    ] or [helper.make_node("Relu", ["i"], ["o0"])]
    last = [*nodes, helper.make_node("Identity", [nodes[-1].output[0]], ["o"])]
    ids = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["i"], ["o"], last, ids)


def functions(*given: FunctionProto) -> ModelProto:
    made = one("f0", domain="mine")
    made.functions.extend(given)
    return made


def tower(depth: int, width: int) -> ModelProto:
    each = [function(f"f{n}", [f"f{n + 1}"] * width) for n in range(depth)]
    return functions(*each, function(f"f{depth}", []))


def attributes(count: int) -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(3, b"wide") + field(4, b"Relu")
    return spliced(field(1, node + field(5, b"") * count))


def values(count: int) -> bytes:
    return spliced(field(13, field(2, field(1, field(2, field(1, b"") * 8)))) * count)


def deep_type() -> bytes:
    inner = b""
    for _ in range(1000):
        inner = field(4, field(1, inner))
    return spliced(field(11, field(1, b"z") + field(2, inner)))


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


def many(count: int, noun: str) -> ModelProto:
    made = one("Relu")
    for n in range(count):
        named = value(f"more{n}", F32, [1])
        (made.graph.input if noun == "input" else made.graph.output).append(named)
        if noun == "output":
            made.graph.node.append(helper.make_node("Relu", ["x"], [f"more{n}"]))
    return made


def changed(made: ModelProto, change: Callable[[ModelProto], Any]) -> ModelProto:
    change(made)
    return made


def opset(version: int) -> ModelProto:
    return changed(one("Relu"), lambda m: setattr(m.opset_import[0], "version", version))


def named(text: str, noun: str) -> ModelProto:
    made = one("Relu")
    if noun == "input":
        made.graph.input[0].name = made.graph.node[0].input[0] = text
    else:
        made.graph.output[0].name = made.graph.node[0].output[0] = text
    return made


def raw_name() -> bytes:
    """A node whose name is no UTF-8."""
    node = field(1, b"x") + field(2, b"z") + field(3, b"\xff\xfe") + field(4, b"Relu")
    return spliced(field(1, node))


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


def cases() -> Iterator[Hostile]:
    """All of them."""
    yield from CASES


# --- data outside the model -----------------------------------------------------------------

for place in (
    "/etc/shadow", "../../../../etc/shadow", "http://host/w", "file:///etc/shadow", "\\\\host\\w",
    "/proc/self/mem", "/dev/zero", "w\0/etc/shadow", "*/_ORT_MEM_ADDR_/*", "\0vaccel", "./link",
):  # fmt: skip
    case(f"location {place!r}", lambda place=place: weighted(outside(place)), "'w'", "outside")
case("no location", lambda: weighted(outside(None)), "'w'", "outside")
case("span", lambda: weighted(outside("w", offset="0", length=str(1 << 62))), "'w'", "outside")
case("outside, in a constant", in_constant, "'it'", "outside")
case("outside, in a branch", in_branch, "'w'", "outside")
case("outside, in a function", in_function, "'it'", "outside")
case("outside, sparse values", lambda: sparse_outside("values"), "passwd")
case("outside, sparse indices", lambda: sparse_outside("indices"), "passwd")
case("outside, in a list", in_tensor_list, "'it'", "/dev/zero")

# --- sizes ----------------------------------------------------------------------------------

case("negative", lambda: resized([-2, -1], raw_data=bytes(8)), "'w'", "[-2, -1]")
case("overflow", lambda: resized([1 << 32, 1 << 32], raw_data=bytes(8)), "'w'")
case("largest", lambda: resized([(1 << 63) - 1], raw_data=bytes(8)), "'w'")
case("overflow, large", lambda: resized([1 << 32, 1 << 32], raw_data=bytes(4096)), "'w'", "4096")
case("too little", lambda: resized([3], raw_data=bytes(8)), "'w'", "12 bytes")
case("too much", lambda: resized([3], raw_data=bytes(4096)), "'w'", "12 bytes", "4096")
case("rank", lambda: resized([1] * 40, raw_data=bytes(4)), "'w'")
case("few floats", lambda: resized([9], float_data=[1.0]), "'w'")
case("few integers", lambda: resized([9], I64, int64_data=[1]), "'w'")
case("few strings", lambda: resized([1 << 40], TEXT, string_data=[b"a"]), "'w'")
case("type 99", lambda: resized([1], 99, raw_data=bytes(4)), "'w'")
case("type 0", lambda: resized([1], 0, raw_data=bytes(4)), "'w'")
case(
    "sparse index",
    lambda: sparse(
        from_array(np.ones(1, np.float32), "w"), from_array(np.array([1 << 40]), "at"), [2]
    ),
    "'at'",
)
case(
    "sparse size",
    lambda: sparse(
        from_array(np.ones(1, np.float32), "w"), from_array(np.array([0]), "at"), [1 << 40]
    ),
    "'w'",
    kinds=(InvalidModel, Exhausted),
)
for op, consts in (
    ("ConstantOfShape", {"c": np.array([1 << 40])}),
    ("ConstantOfShape", {"c": np.array([1 << 32, 1 << 32])}),
    ("Range", {"c": np.int64(0), "d": np.int64(1 << 42), "e": np.int64(1)}),
):
    case(
        f"{op} {next(iter(consts.values()))}",
        lambda op=op, consts=consts: one(
            op, *consts, consts=consts, out=F32 if op[0] == "C" else I64
        ),
        "'it'",
        "bytes",
        kinds=(Exhausted, InvalidModel),
    )
for op, more in (("Expand", (1 << 40,)), ("Tile", (1 << 40,)), ("Pad", (0, 1 << 40))):
    case(
        f"{op} {more}",
        lambda op=op, more=more: one(op, "x", "c", shape=[1], consts={"c": np.array(more)}),
        "'it'",
        "bytes",
        kinds=(Exhausted, InvalidModel),
    )

# --- structure ------------------------------------------------------------------------------

case("a million nodes", million_nodes, f"{bounds.MODEL_NODES} nodes")
case("empty nodes", lambda: spliced(b"\x0a\x00" * 300_000), f"{bounds.MODEL_NODES} nodes")
case("attributes", lambda: attributes(1_100_000), "'wide'", "parts")
case("descriptions", lambda: values(400_000), "parts")
case("graphs 1000 deep", lambda: nested(1000), "'deep'", "deeper")
case("graphs a little deep", lambda: nested(bounds.MODEL_DEPTH + 2), "'deep'", "deeper")
case("types 1000 deep", deep_type, "deeper")
case("functions 1000 deep", lambda: tower(1000, 1), "deeper")
case("functions that double", lambda: tower(20, 2), "nodes")
case("a function of itself", lambda: functions(function("f0", ["f0"])), "f0", "itself")
case(
    "functions in a circle",
    lambda: functions(function("f0", ["f1"]), function("f1", ["f0"])),
    "itself",
)
case(
    "no such function",
    lambda: functions(function("f0", ["f9"])),
    "f9",
    kinds=(InvalidModel, Unsupported),
)
case(
    "circle",
    lambda: model(
        graph(
            [add("x", "b", "a", "it"), helper.make_node("Relu", ["a"], ["b"]), add("x", "b", "y")],
            [X],
            [Y],
        )
    ),
    "'it'",
)
case("a node of itself", lambda: one("Add", "x", "y"), "'it'")
case("undefined", lambda: one("Relu", "nothing"), "'it'", "nothing")
case(
    "no maker",
    lambda: changed(one("Relu"), lambda m: m.graph.output.append(value("z", F32, [1]))),
    "z",
)
case(
    "two makers",
    lambda: changed(
        one("Relu"),
        lambda m: m.graph.node.append(helper.make_node("Abs", ["x"], ["y"], name="again")),
    ),
    "y",
)
case(
    "one output twice",
    lambda: model(
        graph(
            [helper.make_node("Split", ["x"], ["y", "y"], name="it", axis=0, num_outputs=2)],
            [X],
            [Y],
        )
    ),
    "y",
)
case("one input twice", lambda: changed(one("Relu"), lambda m: m.graph.input.append(X)), "x")
case(
    "two weights of a name",
    lambda: changed(
        weighted(from_array(np.ones(2, np.float32), "w")),
        lambda m: m.graph.initializer.append(from_array(np.ones(2, np.float32), "w")),
    ),
    "w",
)
case("too many inputs", lambda: many(5000, "input"), "inputs")
case("too many outputs", lambda: many(5000, "output"), "outputs")
case("no outputs", lambda: changed(one("Relu"), lambda m: m.graph.ClearField("output")), "output")
case("no graph", lambda: changed(one("Relu"), lambda m: m.ClearField("graph")), "output")

# --- operators ------------------------------------------------------------------------------

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

# --- names and bytes ------------------------------------------------------------------------

case("input in control characters", lambda: named("a\nb", "input"), "printable")
case("output in control characters", lambda: named("a\x1b[2J", "output"), "printable")
case("long input", lambda: named("a" * (1 << 20), "input"), "printable")
case("input without a name", lambda: named("", "input"), "name")
case("no UTF-8", raw_name, "UTF-8")
case("opset 0", lambda: opset(0), "opset is 0", kinds=(Unsupported,))
case("future opset", lambda: opset(999), "opset is 999", kinds=(Unsupported,))
case("negative opset", lambda: opset(-1), "opset is -1", kinds=(Unsupported,))
case("no opset", lambda: changed(one("Relu"), lambda m: m.ClearField("opset_import")), "opset")
case(
    "future version",
    lambda: changed(one("Relu"), lambda m: setattr(m, "ir_version", 99)),
    "99",
    kinds=(Unsupported,),
)
case(
    "negative version",
    lambda: changed(one("Relu"), lambda m: setattr(m, "ir_version", -1)),
    "version",
)
case("text", lambda: b"<html><body>404</body></html>", "not ONNX")
case("zeros", lambda: bytes(1 << 20), "not ONNX")
case("archive", lambda: b"PK\x03\x04" + bytes(200), "not ONNX")
case("cut short", lambda: one("Relu").SerializeToString()[:-20], "truncated")
case("length", lambda: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(99), "not ONNX")
case("number of eleven bytes", lambda: b"\x08" + b"\xff" * 11, "not ONNX")
case("group", lambda: b"\x0b" * 4096, "not ONNX")
