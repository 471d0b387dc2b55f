from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.devices.npu.matmul import exact_matmul, integer_reference, self_test
from vaccel.errors import InvalidArgument

TYPES = st.sampled_from([np.int8, np.uint8])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 6),
    st.integers(0, 700),
    st.integers(0, 6),
    TYPES,
    TYPES,
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_equal_to_the_integers(m, k, n, left_type, right_type, extreme, seed) -> None:
    random = np.random.default_rng(seed)

    def values(shape, kind):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        if extreme:
            return random.choice(np.array([low, high], kind), shape)
        return random.integers(low, high + 1, shape).astype(kind)

    left, right = values((m, k), left_type), values((k, n), right_type)
    result = exact_matmul(left, right)
    assert result.dtype == np.int32
    assert np.array_equal(result, integer_reference(left, right))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 400), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_zero_points_per_row_and_per_column(m, k, n, seed) -> None:
    random = np.random.default_rng(seed)
    left = random.integers(0, 256, (m, k)).astype(np.uint8)
    right = random.integers(-128, 128, (k, n)).astype(np.int8)
    za = random.integers(0, 256, m).astype(np.uint8)
    zb = random.integers(-128, 128, n).astype(np.int8)
    wide = (left.astype(np.int64) - za[:, None]) @ (right.astype(np.int64) - zb)
    assert np.array_equal(exact_matmul(left, right, za, zb), wide.astype(np.int32))


def test_the_accumulator_wraps_around() -> None:
    depth = 40_000
    left = np.full((1, depth), 255, np.uint8)
    right = np.full((depth, 1), 255, np.uint8)
    assert exact_matmul(left, right)[0, 0] == np.int64(depth * 255 * 255 - 2**32)


def test_batches_and_vectors_broadcast() -> None:
    random = np.random.default_rng(2)
    left = random.integers(-128, 128, (2, 1, 3, 600)).astype(np.int8)
    right = random.integers(-128, 128, (4, 600, 5)).astype(np.int8)
    expected = left.astype(np.int32) @ right.astype(np.int32)
    assert np.array_equal(exact_matmul(left, right), expected)
    vector = right[0, :, 0]
    assert np.array_equal(
        exact_matmul(left, vector), left.astype(np.int32) @ vector.astype(np.int32)
    )


def test_what_does_not_multiply_is_refused() -> None:
    eight = np.zeros((2, 3), np.int8)
    with pytest.raises(InvalidArgument, match="do not multiply"):
        exact_matmul(eight, eight)
    with pytest.raises(InvalidArgument, match="do not multiply"):
        exact_matmul(np.zeros((2, 2000), np.int8), np.zeros((1999, 2), np.int8))
    with pytest.raises(InvalidArgument, match="float32"):
        exact_matmul(eight.astype(np.float32), eight)
    with pytest.raises(InvalidArgument, match="zero point is empty"):
        exact_matmul(eight, eight.T, np.zeros(0, np.int8))


def test_this_machine_passes_its_self_test() -> None:
    self_test()
