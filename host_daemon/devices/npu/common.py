"""Which integer kernels of ONNX Runtime are exact on this CPU, found out by running them.

With VNNI they accumulate in 32 bits and are several times faster than float32; without it some of
them add pairs of 8-bit products in 16 bits and saturate. Which ones do is not written down
anywhere that stays true, so each is run at the extremes of its types, over one block and several,
and compared with the exact product. What is not equal to the last bit, or not implemented there,
is computed here instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.npu import integers
from host_daemon.devices.npu.matmul import exact_matmul
from vaccel.model import Array

# (operation, left type, right type), the types by NumPy's names.
Kernel = tuple[str, str, str]

_TYPES: Final = ("int8", "uint8")
_OPSET: Final = 21
# (M, K, N): one row and many, K on either side of the kernels' blocks, sizes that fill no vector.
_SHAPES: Final = ((1, 1, 1), (1, 300, 33), (5, 67, 16), (17, 1031, 65))


@cache
def exact() -> frozenset[Kernel]:
    """The kernels of ONNX Runtime that are equal to the exact ones. Takes some 100 ms, once."""
    found = set()
    for left, right in product(_TYPES, _TYPES):
        for op in ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"):
            if _equal(op, left, right):
                found.add((op, left, right))
    return frozenset(found)


def _session(op: str, inputs: list[Array], result: Any) -> Any:
    import onnxruntime
    from onnx import helper

    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in inputs]
    names = [f"i{index}" for index in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["o"])],
        op,
        [
            helper.make_tensor_value_info(name, kind, [None] * each.ndim)
            for name, kind, each in zip(names, kinds, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("o", helper.np_dtype_to_tensor_dtype(result), None)],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    built = helper.make_model(graph, opset_imports=opset, ir_version=10)
    options = onnxruntime.SessionOptions()
    # No threads of its own: the process that proves this may be one that forks.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        built.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _extremes(shape: tuple[int, ...], kind: str, seed: int) -> Array:
    """Values at random, and rows full of the smallest and of the largest."""
    limits = np.iinfo(np.int8 if kind == "int8" else np.uint8)
    random = np.random.default_rng(seed)
    values = random.integers(limits.min, limits.max + 1, shape).astype(kind)
    values[0] = limits.max
    values[-1] = limits.min if shape[0] > 1 else values[-1]
    return values


def _cases(op: str, left: str, right: str) -> Iterator[tuple[list[Array], NDArray[Any]]]:
    """Inputs, and the exact output, of one kernel."""
    one = np.array(1, np.float32)
    for seed, (m, k, n) in enumerate(_SHAPES):
        a, b = _extremes((m, k), left, seed), _extremes((n, k), right, seed + 100).T.copy()
        zero_a, zero_b = np.array(3, left), np.array(5, right)
        small = np.array(k * 300.0, np.float32)
        if op == "MatMulInteger":
            yield [a, b, zero_a, zero_b], exact_matmul(a, b, zero_a, zero_b)
            continue
        if op == "QLinearMatMul":
            inputs = [a, one, zero_a, b, one, zero_b, small, np.array(7, left)]
            yield inputs, integers.quantised_matmul([*inputs])
            continue
        image = a.reshape(1, 1, m, k)
        weight = _extremes((n, k), right, seed + 100).reshape(n, 1, 1, k)
        if op == "ConvInteger":
            zeros = (zero_a, zero_b)
            yield (
                [image, weight, *zeros],
                integers.exact_convolution(image, weight, *zeros, {}),
            )
            continue
        inputs = [image, one, zero_a, weight, one, zero_b, small, np.array(7, left)]
        yield inputs, integers.quantised_convolution([*inputs], {})


def _equal(op: str, left: str, right: str) -> bool:
    session = None
    for inputs, expected in _cases(op, left, right):
        try:
            session = session or _session(op, inputs, expected.dtype)
            feed = {f"i{index}": each for index, each in enumerate(inputs)}
            (given,) = session.run(None, feed)
        except _runtime_errors():
            # Not implemented there for these types: computed here.
            return False
        if not np.array_equal(given, expected):
            return False
    return True


@cache
def _runtime_errors() -> tuple[type[BaseException], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (state.Fail, state.InvalidGraph, state.NotImplemented, state.InvalidArgument)
