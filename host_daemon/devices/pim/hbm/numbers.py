"""Results of operations in the banks, and of the host's part of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import Operation
from host_daemon.devices.pim.hbm import fp16, recurrence
from host_daemon.devices.pim.hbm.fp16 import Half
from vaccel.errors import InvalidArgument
from vaccel.model import Array


def compute(operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array]:
    """The outputs, of the type of the first input. Raises InvalidArgument where a tensor misses or
    does not fit.
    """
    first = required(operation, inputs, 0)
    try:
        if operation.op == "LSTM":
            found = recurrence.run(operation, inputs)[: len(operation.outputs)]
        else:
            found = [_single(operation, first, inputs)]
    except ValueError as error:
        shapes = [None if each is None else list(each.shape) for each in inputs]
        raise InvalidArgument(f"{operation.op}: shapes {shapes} do not fit") from error
    return [np.asarray(each.astype(first.dtype)) for each in found]


def required(operation: Operation, inputs: Sequence[Array | None], index: int) -> Array:
    """An input that must be there."""
    found = inputs[index] if index < len(inputs) else None
    if found is None:
        raise InvalidArgument(f"{operation.op}: input {index} is missing")
    return found


def halves(values: NDArray[Any]) -> Half:
    """Rounded to fp16 as the host does when it writes banks; too large is infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float16)


def _single(operation: Operation, first: Array, inputs: Sequence[Array | None]) -> NDArray[Any]:
    left = halves(first)
    if operation.op == "Relu":
        return fp16.relu(left)
    if operation.op == "BatchNormalization":
        return _normalise(operation, left, inputs)
    right = halves(required(operation, inputs, 1))
    if operation.op == "Add":
        return fp16.add(left, right)
    if operation.op == "Mul":
        return fp16.multiply(left, right)
    return _matmul(left, right) if operation.op == "MatMul" else _gemm(operation, left, inputs)


def _matmul(left: Half, right: Half) -> Half:
    """ONNX's MatMul with one right matrix or vector: a GEMV for each row of the left side."""
    matrix = right if right.ndim > 1 else right[:, None]
    rows = left.reshape(-1, left.shape[-1])
    result = fp16.gemv(matrix.T, rows)
    return result.reshape((*left.shape[:-1], *right.shape[1:]))


def _gemm(operation: Operation, left: Half, inputs: Sequence[Array | None]) -> NDArray[Any]:
    attributes = operation.attributes
    right = halves(required(operation, inputs, 1))
    rows = left.T if attributes.get("transA") else left
    weights = right if attributes.get("transB") else right.T
    found = fp16.gemv(weights, rows)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is None and alpha == 1.0:
        return found
    # The host scales and adds in float32, and rounds once.
    with np.errstate(all="ignore"):
        scaled = found.astype(np.float32) * np.float32(alpha)
        if bias is not None:
            scaled = scaled + np.asarray(bias, np.float32) * np.float32(beta)
    return fp16.quiet(halves(scaled))


def _normalise(operation: Operation, data: Half, inputs: Sequence[Array | None]) -> Half:
    """Batch normalisation, scale and shift as the host prepares them: x * s + t, rounded twice."""
    gamma, beta, mean, variance = (
        np.asarray(required(operation, inputs, index), np.float32) for index in range(1, 5)
    )
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + np.float32(operation.attributes.get("epsilon", 1e-5)))
        shift = beta - mean * scale
    shape = (-1, *(1,) * (data.ndim - 2))
    scaled = fp16.multiply(data, halves(scale).reshape(shape))
    return fp16.add(scaled, halves(shift).reshape(shape))
