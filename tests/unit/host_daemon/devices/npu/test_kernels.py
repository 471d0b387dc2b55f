from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from host_daemon.core.device import Operation
from host_daemon.devices.npu.device import ARITHMETIC
from host_daemon.devices.npu.kernels import own
from host_daemon.devices.npu.parameters import BY_DTYPE
from vaccel.errors import Exhausted, InvalidArgument, Unsupported
from vaccel.model import DType

FORMATS = {
    "bf16": (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    "fp16": (np.float16, np.float16),
    "fp8_e4m3": (ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16),
    "fp8_e5m2": (ml_dtypes.float8_e5m2, ml_dtypes.bfloat16),
}


def run(op: str, *inputs: np.ndarray | None, **attributes: object) -> np.ndarray | None:
    specs = tuple(None if each is None else (DType(str(each.dtype)), each.shape) for each in inputs)
    asked = attributes.get(ARITHMETIC) or BY_DTYPE[DType(str(inputs[0].dtype))]
    result = own(Operation(op, specs, (), attributes), inputs, asked)
    return None if result is None else result[0]


def reference(op: str, *inputs: np.ndarray, **attributes: object) -> np.ndarray:
    """ONNX's own evaluator, for the operations whose definition is exact."""
    names = [f"i{index}" for index in range(len(inputs))]
    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in inputs]
    values = [
        helper.make_tensor_value_info(name, kind, each.shape)
        for name, kind, each in zip(names, kinds, inputs, strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["o"], **attributes)],
        "one",
        values,
        [helper.make_tensor_value_info("o", TensorProto.UNDEFINED, None)],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return ReferenceEvaluator(built).run(None, dict(zip(names, inputs, strict=True)))[0]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_a_product_rounds_at_the_stated_points(name, m, k, n, seed) -> None:
    random = np.random.default_rng(seed)
    a = random.normal(0, 3, (m, k)).astype(np.float32)
    b = random.normal(0, 3, (k, n)).astype(np.float32)
    taken, given_back = FORMATS[name]
    left, right = a.astype(taken).astype(np.float32), b.astype(taken).astype(np.float32)
    expected = (left @ right).astype(given_back).astype(np.float32)
    result = run("MatMul", a, b, **{ARITHMETIC: name})
    assert result.dtype == np.float32
    assert np.array_equal(result, expected)


def test_half_precision_tensors_are_computed_in_the_cards_fp16() -> None:
    a = np.full((1, 4096), 1.0, np.float16)
    b = np.full((4096, 1), 1.0 + 2**-10, np.float16)
    # An fp16 accumulator would stop at 2048.
    assert run("MatMul", a, b)[0, 0] == np.float16(4096 * (1 + 2**-10))


def test_fp32_is_left_to_the_common_kernels() -> None:
    assert run("MatMul", np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)) is None


def test_nan_and_infinity_propagate_as_the_format_says() -> None:
    one = np.ones((1, 1), np.float32)
    for name in FORMATS:
        assert np.isnan(run("MatMul", one * np.nan, one, **{ARITHMETIC: name})).all()
    huge = one * 1e9
    assert np.isinf(run("MatMul", huge, one, **{ARITHMETIC: "fp16"})).all()
    assert np.isinf(run("MatMul", huge, one, **{ARITHMETIC: "fp8_e5m2"})).all()
    assert np.isnan(run("MatMul", huge, one, **{ARITHMETIC: "fp8_e4m3"})).all()
    assert np.isfinite(run("MatMul", huge, one, **{ARITHMETIC: "bf16"})).all()


CONVOLUTIONS = [
    ((2, 3, 9), (4, 3, 3), {}),
    ((1, 4, 9, 8), (6, 2, 3, 2), {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    ((1, 6, 7, 7), (6, 1, 3, 3), {"group": 6, "dilations": [2, 1]}),
    ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2, 1]}),
    ((1, 2, 8, 8), (3, 2, 4, 4), {"auto_pad": "SAME_LOWER"}),
    ((1, 2, 8, 8), (3, 2, 4, 4), {"auto_pad": "VALID"}),
]


@pytest.mark.parametrize(("data", "weight", "attributes"), CONVOLUTIONS)
def test_convolutions_equal_the_definition(data, weight, attributes) -> None:
    random = np.random.default_rng(3)
    x = random.integers(-8, 8, data).astype(np.float32)
    w = random.integers(-8, 8, weight).astype(np.float32)
    expected = reference("Conv", x, w, **attributes)
    rounded = expected.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(run("Conv", x, w, **attributes, **{ARITHMETIC: "bf16"}), rounded)
    exact = run("ConvInteger", x.astype(np.int8), w.astype(np.int8), **attributes)
    assert exact.dtype == np.int32
    assert np.array_equal(exact, expected)


def test_integer_convolution_pads_with_its_zero_point() -> None:
    random = np.random.default_rng(4)
    x = random.integers(0, 256, (1, 300, 4, 4)).astype(np.uint8)
    w = random.integers(-128, 128, (2, 300, 3, 3)).astype(np.int8)
    zx, zw = np.uint8(130), np.array([3, -7], np.int8)
    wide = x.astype(np.float64) - 130
    kernel = w.astype(np.float64) - zw.reshape(2, 1, 1, 1)
    expected = reference("Conv", wide, kernel, pads=[1, 1, 1, 1])
    result = run("ConvInteger", x, w, np.array(zx), zw, pads=[1, 1, 1, 1])
    assert np.array_equal(result, expected.astype(np.int32))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 300), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_quantised_products_round_once(m, k, n, seed) -> None:
    random = np.random.default_rng(seed)
    a = random.integers(0, 256, (m, k)).astype(np.uint8)
    b = random.integers(-128, 128, (k, n)).astype(np.int8)
    sa, sb, sy = (np.float32(each) for each in random.uniform(0.001, 0.1, 3))
    za, zb, zy = np.uint8(100), np.int8(-3), np.uint8(128)
    given_ = [np.array(each) for each in (a, sa, za, b, sb, zb, sy * k, zy)]
    sums = (a.astype(np.int64) - 100) @ (b.astype(np.int64) + 3)
    scaled = np.rint(sums.astype(np.float32) * (sa * sb / np.float32(sy * k))) + 128
    expected = np.clip(scaled, 0, 255).astype(np.uint8)
    assert np.array_equal(run("QLinearMatMul", *given_), expected)


def test_quantised_convolution_with_bias_and_channel_scales() -> None:
    random = np.random.default_rng(5)
    x = random.integers(0, 256, (1, 3, 6, 6)).astype(np.uint8)
    w = random.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = random.uniform(0.01, 0.02, 4).astype(np.float32)
    bias = random.integers(-9000, 9000, 4).astype(np.int32)
    sums = reference("Conv", x.astype(np.float64) - 7, w.astype(np.float64)).astype(np.int64)
    sums += bias.reshape(1, 4, 1, 1)
    factor = np.float32(0.02) * scales.reshape(4, 1, 1) / np.float32(0.3)
    scaled = np.rint(sums.astype(np.float32) * factor) + 120
    inputs = (x, np.float32(0.02), np.uint8(7), w, scales, np.zeros(4, np.int8))
    more = (np.float32(0.3), np.uint8(120), bias)
    result = run("QLinearConv", *(np.asarray(each) for each in (*inputs, *more)))
    assert np.array_equal(result, np.clip(scaled, 0, 255).astype(np.uint8))


def test_four_bit_weights_are_exact_and_checked() -> None:
    random = np.random.default_rng(6)
    a = random.integers(-128, 128, (3, 500)).astype(np.int8)
    b = random.integers(-8, 8, (500, 4)).astype(np.int8)
    result = run("MatMulInteger", a, b, **{ARITHMETIC: "int4"})
    assert np.array_equal(result, a.astype(np.int32) @ b.astype(np.int32))
    with pytest.raises(InvalidArgument, match=r"-8 to 7|int4"):
        run("MatMulInteger", a, b * np.int8(2), **{ARITHMETIC: "int4"})


def test_padding_is_bounded() -> None:
    data, weight = np.zeros((1, 1, 4, 4), np.int8), np.zeros((1, 1, 2, 2), np.int8)
    far = {"pads": [10**6] * 4, "strides": [10**6] * 2}
    with pytest.raises(Exhausted, match="padding"):
        run("ConvInteger", data, weight, **far)


def test_parameters_that_do_not_fit_are_refused() -> None:
    data, weight = np.zeros((1, 1, 4, 4), np.uint8), np.zeros((2, 1, 2, 2), np.int8)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.uint8)
    signed, bias = np.zeros(1, np.int8), np.zeros(3, np.int32)
    with pytest.raises(InvalidArgument, match="QLinearConv"):
        run("QLinearConv", data, one, zero, weight, one, signed, one, zero, bias)


def test_floats_are_not_quantised_in_silence() -> None:
    one = np.ones((1, 1), np.float32)
    with pytest.raises(Unsupported, match="no scales"):
        run("MatMul", one, one, **{ARITHMETIC: "int8"})


@pytest.mark.parametrize(
    ("data", "weight", "attributes"),
    [
        ((1, 3, 9), (4, 2, 3), {}),
        ((1, 3, 9), (4, 3, 3, 3), {}),
        ((1, 3, 9), (4, 3, 30), {}),
        ((1, 3, 9), (4, 3, 3), {"strides": [0]}),
        ((1, 3, 9), (4, 3, 3), {"pads": [-1, 0]}),
        ((1, 3, 9), (4, 3, 3), {"auto_pad": "SAME"}),
        ((1, 3, 9), (4, 3, 3), {"group": 0}),
    ],
)
def test_convolutions_that_do_not_fit_are_refused(data, weight, attributes) -> None:
    with pytest.raises(InvalidArgument, match="convolution"):
        run("ConvInteger", np.zeros(data, np.int8), np.zeros(weight, np.int8), **attributes)
