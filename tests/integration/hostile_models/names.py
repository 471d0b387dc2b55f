"""Models whose names, versions or bytes are no model's."""

from __future__ import annotations

from onnx import ModelProto

from tests.integration.hostile_models.hostile import Hostile, adding_to, changed, one
from tests.integration.hostile_models.wire import field, spliced
from vaccel.errors import Unsupported


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


CASES: list[Hostile] = []
case = adding_to(CASES)

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
