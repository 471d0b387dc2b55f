"""STFT: the numbers of ONNX's reference, which takes frames one by one."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator

from host_daemon.compiler.program import Target, compile_model
from tests.conformance.models import F32, graph, model, value
from vaccel.errors import InvalidArgument

KINDS = {np.float32: F32, np.float64: TensorProto.DOUBLE}


def stft(
    dtype: Any, step: int, window: int | None, length: int | None, onesided: int
) -> ModelProto:
    weights = [from_array(np.array(step), "step")]
    if window is not None:
        weights.append(from_array(np.hanning(window).astype(dtype), "window"))
    if length is not None:
        weights.append(from_array(np.array(length), "length"))
    names = ["window" if window is not None else "", "length" if length is not None else ""]
    node = helper.make_node("STFT", ["x", "step", *names], ["y"], name="it", onesided=onesided)
    inputs = [value("x", KINDS[dtype], ["b", "t", None])]
    return model(graph([node], inputs, [value("y", KINDS[dtype], None)], weights), 17)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(
    ("step", "window", "length"),
    [(16, 64, None), (7, 60, None), (16, None, 64), (16, 48, 64), (5, None, 1), (9, 400, None)],
)
def test_frames_of_a_signal(
    target: Target, dtype: Any, step: int, window: int | None, length: int | None
) -> None:
    rng = np.random.default_rng(6)
    for onesided, parts in product((0, 1), (1, 2)):
        if onesided and parts == 2:
            continue
        made = stft(dtype, step, window, length, onesided)
        x = rng.standard_normal((2, 400, parts)).astype(dtype)
        found = compile_model(made.SerializeToString(), target).run({"x": x}, ["y"]).results["y"]
        (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("step", "length"), [(0, 8), (-1, 8), (1, 401), (1, 0), (1, -3)])
def test_what_has_no_frames_is_refused_by_name(target: Target, step: int, length: int) -> None:
    program = compile_model(stft(np.float32, step, None, length, 1).SerializeToString(), target)
    with pytest.raises(InvalidArgument, match=r"node 'it' \('STFT'\): signal of 400 has no frames"):
        program.run({"x": np.zeros((1, 400, 1), np.float32)}, ["y"])
