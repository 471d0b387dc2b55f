"""Narrow tensors go into ONNX Runtime and out of it bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from host_daemon.compiler import ort_values
from host_daemon.compiler.signature import FROM_ONNX, TO_ONNX
from vaccel.errors import Unsupported
from vaccel.model import DType

# Those of ONNX Runtime; it has no fp6.
NARROW = [d for d in DType if d.narrow and not d.value.startswith("float6")]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.sampled_from(NARROW),
    st.lists(st.integers(0, 5), max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_every_bit_comes_back(dtype: DType, shape: list[int], seed: int) -> None:
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    if dtype.bits < 8:
        raw &= np.uint8((1 << dtype.bits) - 1)
    array = raw.view(dtype.numpy).reshape(shape)
    value = ort_values.to_ort(array)
    assert value.element_type() == TO_ONNX[dtype]
    # As ONNX packs them: a byte holds as many as fit.
    assert value.tensor_size_in_bytes() == -(-array.size * dtype.bits // 8)
    back = ort_values.from_ort(value)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_four_bits_lie_as_onnx_says() -> None:
    """Against ``onnx.helper``, which packs the first element into the lowest bits."""
    array = np.array([1, -2, 3], DType.INT4.numpy)
    packed = helper.make_tensor("x", TensorProto.INT4, [3], [1, -2, 3], raw=False)
    assert list(ort_values._packed(array.view(np.uint8), 4)) == list(
        np.array(packed.int32_data, np.uint8)
    )


@pytest.mark.parametrize(
    "text",
    [
        "tensor(float)",
        "tensor(bfloat16)",
        "tensor(float8e4m3fn)",
        "tensor(int4)",
        "seq(tensor(string))",
        "optional(seq(tensor(float)))",
        "seq(map(int64,tensor(float)))",
    ],
)
def test_ort_types_are_known(text: str) -> None:
    kind = ort_values.type_of(text)
    assert kind is not None
    while kind.WhichOneof("value") != "tensor_type":
        which = kind.WhichOneof("value")
        inner = getattr(kind, which)
        kind = inner.value_type if which == "map_type" else inner.elem_type
    assert kind.tensor_type.elem_type in FROM_ONNX


def test_unknown_types_are_none() -> None:
    assert ort_values.type_of("tensor(quaternion)") is None
    assert ort_values.type_of("opaque(x)") is None


def test_a_sequence_of_a_narrow_type_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match=r"'s' is a sequence of bfloat16"):
        ort_values.feed("s", [np.zeros(1, DType.BFLOAT16.numpy)])
