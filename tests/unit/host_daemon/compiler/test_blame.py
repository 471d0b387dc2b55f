"""Texts of three libraries become one form, the node first."""

from __future__ import annotations

import pytest
from onnx import helper

from host_daemon.compiler.blame import plain, readable, reason

TEXTS = [
    (
        "Node (it) Op (MatMul) [ShapeInferenceError] Incompatible dimensions",
        "node 'it' (MatMul): Incompatible dimensions",
    ),
    (
        "No Op registered for Frob with domain_version of 18\n==> Context: Bad node spec for node."
        " Name: it OpType: Frob",
        "node 'it' (Frob): No Op registered for Frob with domain_version of 18",
    ),
    (
        "[ShapeInferenceError] Inference error(s): (op_type:Softmax, node name: it):"
        " [ShapeInferenceError] 'axis' must be in [-1 , 0].",
        "node 'it' (Softmax): 'axis' must be in [-1 , 0].",
    ),
    (
        "Type Error: Type 'tensor(string)' of input parameter (x) of operator (Add) in node (it)"
        " is invalid.",
        "node 'it' (Add): Type Error: Type 'tensor(string)' of input parameter (x) is invalid.",
    ),
    (
        "TensorProto (tensor name: w) float_data size (1) is too small",
        "tensor 'w': TensorProto float_data size (1) is too small",
    ),
    ("something else", "model: something else"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_the_node_comes_first(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_an_operator_without_a_node_is_looked_up() -> None:
    node = helper.make_node("Frob", ["x"], ["y"], name="it", domain="com.microsoft")
    text = "Fatal error: com.microsoft:Frob(-1) is not a registered function/op"
    assert reason(text, [node]) == f"node 'it' ('Frob'): {text}"
    assert reason(text) == f"model: {text}"


def test_a_name_cannot_forge_lines_or_length() -> None:
    text = reason("Node (a\nb\x1b[2J" + "c" * 5000 + ") Op (Relu) bad")
    assert text.isprintable() and "\n" not in text and len(text) < 700
    assert plain("a\n\tb  c") == "a b c"


SOURCES = [
    (
        "onnxruntime::TensorShapeVector onnxruntime::PoolAttributes::SetOutputSize(const"
        " onnxruntime::TensorShape&, bool) const input_shape.Size() > 0 was false. Only N.",
        "Only N.",
    ),
    (
        "void onnxruntime::core_impl(const Tensor*, int64_t) [with Tin = long int; int64_t = long"
        " int] GatherElements op: Out of range value",
        "GatherElements op: Out of range value",
    ),
    (
        "static void SafeIntExceptionHandler<onnxruntime::OnnxRuntimeException>::OnOverflow()"
        " Integer overflow",
        "Integer overflow",
    ),
    (
        "virtual OrtValue* onnxruntime::OpKernelContext::OutputMLValue(int, const"
        " onnxruntime::TensorShape&) [ONNXRuntimeError] : 1 : FAIL : tensor.cc:57 CalculateSize"
        " Tensor shape.Size() must be >= 0",
        "Tensor shape.Size() must be >= 0",
    ),
    ("element_wise_ops.cc:2421 operator() Integer modulo by zero", "Integer modulo by zero"),
    ("onnxruntime::Foo::Bar(int) x > 0 was false.", "x > 0 was false."),
    ("", "it does not take these operands"),
    ("onnxruntime::Foo::Bar(int", "it does not take these operands"),
    # What a model may call its things.
    ("input aten::add(1) is missing", "input aten::add(1) is missing"),
    ("The condition was false. Really", "The condition was false. Really"),
]


@pytest.mark.parametrize(("text", "expected"), SOURCES)
def test_nothing_of_onnx_runtimes_own_sources_is_left(text: str, expected: str) -> None:
    assert readable(text) == expected


def test_a_long_text_takes_no_time() -> None:
    for piece in ("::a(", "a::b<", "onnxruntime::f() ", "a.cc:1 x "):
        assert len(readable(piece * 1000)) < 8000
