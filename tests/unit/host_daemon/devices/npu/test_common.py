from __future__ import annotations

import numpy as np
import pytest

from host_daemon.core.device import Operation
from host_daemon.devices.npu import common
from host_daemon.devices.npu.kernels import compute, prove
from vaccel.model import DType


def _product(left: np.ndarray, right: np.ndarray) -> object:
    specs = tuple((DType(str(each.dtype)), each.shape) for each in (left, right))
    return compute(Operation("MatMulInteger", specs, ()), [left, right], "int8")


def test_the_proof_names_kernels() -> None:
    prove()
    for op, left, right in common.exact():
        assert op in ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")
        assert {left, right} <= {"int8", "uint8"}


def test_a_kernel_that_is_not_exact_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = np.full((2, 3), 255, np.uint8), np.full((3, 2), -128, np.int8)
    monkeypatch.setattr(common, "exact", frozenset)
    (own,) = _product(left, right)  # type: ignore[misc]
    assert np.array_equal(own, np.full((2, 2), 3 * 255 * -128, np.int32))


def test_a_proven_kernel_is_left_to_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = np.ones((2, 3), np.uint8), np.ones((3, 2), np.int8)
    proven = frozenset({("MatMulInteger", "uint8", "int8")})
    monkeypatch.setattr(common, "exact", lambda: proven)
    assert _product(left, right) is None
    assert _product(left, right.astype(np.uint8)) is not None


def test_a_saturating_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Saturating:
        def run(self, _names: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            a = feed["i0"].astype(np.int32) - feed["i2"]
            b = feed["i1"].astype(np.int32) - feed["i3"]
            pairs = a[:, 0::2][:, : b.shape[0] // 2] @ b[0::2][: b.shape[0] // 2]
            return [np.clip(pairs, -(2**15), 2**15 - 1)]

    monkeypatch.setattr(common, "_session", lambda *_: Saturating())
    assert not common._equal("MatMulInteger", "uint8", "int8")
