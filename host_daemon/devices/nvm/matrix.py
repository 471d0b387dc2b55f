"""Operations as products of vectors with one matrix that stays: im2col, transposes, groups.

MatMul with a matrix at its right, Gemm, Einsum of the same, and Conv of any number of axes. The
matrix is (inputs, outputs); a vector is a row of a MatMul, or the patch of one output pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from host_daemon.core.device import Operation
from host_daemon.devices.nvm.einsum import Contraction, contraction
from vaccel.errors import InvalidArgument
from vaccel.model import Array, DType, Shape

# Bytes of patches that are laid out at once.
_PATCH_BYTES: Final = 32 << 20
# A padded input larger than this is no image.
_PADDED_BYTES: Final = 1 << 31
_FLOATS: Final = frozenset({DType.FLOAT32, DType.FLOAT16})
_PRODUCTS: Final = frozenset({"MatMul", "Gemm", "Conv", "Einsum"})
# The input that holds the matrix.
WEIGHTS: Final = 1
BIAS: Final = 2


@dataclass(frozen=True, slots=True)
class MatrixShape:
    """The matrix of an operation: inputs, outputs, and groups on its diagonal."""

    inputs: int
    outputs: int
    groups: int = 1


def matrix_shape(operation: Operation) -> MatrixShape | None:
    """The matrix that tiles would keep; None where the operation has none.

    The weights must be constant, of a float type, of known shape, and not empty.
    """
    known = operation.domain in ("", "ai.onnx") and operation.op in _PRODUCTS
    if not known or WEIGHTS not in operation.constant_inputs:
        return None
    data, weights = operation.inputs[0], operation.inputs[WEIGHTS]
    if data is None or weights is None or not {data[0], weights[0]} <= _FLOATS:
        return None
    shape = weights[1]
    if not shape or any(dim <= 0 for dim in shape):
        return None
    return _of_weights(operation, shape)


def _of_weights(operation: Operation, shape: Shape) -> MatrixShape | None:
    if operation.op == "Conv":
        groups = int(operation.attributes.get("group", 1))
        whole = len(shape) >= 3 and groups >= 1 and shape[0] % groups == 0
        return MatrixShape(math.prod(shape[1:]) * groups, shape[0], groups) if whole else None
    if operation.op == "Einsum":
        labels = contraction(operation.attributes.get("equation", ""))
        found = labels.matrix_shape(shape) if labels is not None else None
        return MatrixShape(*found) if found is not None else None
    if operation.op == "MatMul" and math.prod(shape[:-2]) == 1:
        shape = shape[-2:]  # a batch of one matrix
    if len(shape) != 2:
        return None
    return MatrixShape(*(shape[::-1] if operation.attributes.get("transB") else shape))


def matrix(operation: Operation, weights: Array) -> Array:
    """The matrix (inputs, outputs) as float32."""
    values = np.asarray(weights, np.float32)
    if operation.op == "MatMul":
        return values.reshape(values.shape[-2:])
    if operation.op == "Einsum":
        return _labels(operation).matrix(values)
    if operation.op == "Gemm":
        alpha = np.float32(operation.attributes.get("alpha", 1.0))
        values = values.T if operation.attributes.get("transB") else values
        return values if alpha == 1 else values * alpha
    groups = int(operation.attributes.get("group", 1))
    flat = values.reshape(len(values), -1)
    if groups == 1:
        return flat.T
    deep, wide = flat.shape[1], len(flat) // groups
    whole = np.zeros((deep * groups, len(flat)), np.float32)
    for group in range(groups):
        columns = slice(group * wide, (group + 1) * wide)
        whole[group * deep : (group + 1) * deep, columns] = flat[columns].T
    return whole


def vectors_of(operation: Operation) -> int:
    """How many vectors a launch with these shapes multiplies."""
    data, out = operation.inputs[0], operation.outputs[0] if operation.outputs else None
    if data is None:
        return 0
    if operation.op == "Conv":
        pixels = math.prod(out[1][2:]) if out else math.prod(data[1][2:])
        return data[1][0] * pixels
    if operation.op == "Gemm":
        return data[1][1] if operation.attributes.get("transA") else data[1][0]
    if operation.op == "Einsum":
        return _labels(operation).count(data[1])
    return math.prod(data[1][:-1])


def _labels(operation: Operation) -> Contraction:
    found = contraction(operation.attributes["equation"])
    assert found is not None  # it has a matrix
    return found


@dataclass(frozen=True, slots=True)
class Rows:
    """Vectors of one launch, in pieces, and the shape that all results together take.

    ``result`` is (vectors, outputs) reshaped by ``finish``.
    """

    count: int
    pieces: Iterator[tuple[slice, Array]]
    operation: Operation
    shape: Shape

    def finish(self, result: Array) -> Array:
        """Results (vectors, outputs) as the operation's output, float32."""
        if self.operation.op == "Conv":
            batch, channels, *space = self.shape
            return np.moveaxis(result.reshape(batch, *space, channels), -1, 1)
        if self.operation.op == "Einsum":
            return _labels(self.operation).finish(result.reshape(self.shape))
        return result.reshape(self.shape)


def rows_of(operation: Operation, data: Array) -> Rows:
    """The vectors of a launch. Raises InvalidArgument where the data does not fit the weights."""
    weights = operation.inputs[WEIGHTS]
    assert weights is not None  # it has a matrix
    if operation.op == "Conv":
        return _patches(operation, np.asarray(data, np.float32), weights[1])
    values = np.asarray(data, np.float32)
    if operation.op == "Einsum":
        flat, shape = _labels(operation).vectors(values, weights[1])
        return Rows(len(flat), iter([(slice(0, len(flat)), flat)]), operation, shape)
    if operation.op == "Gemm" and operation.attributes.get("transA"):
        values = values.T
    deep, outputs = weights[1][-2:]
    if operation.op == "Gemm" and operation.attributes.get("transB"):
        deep, outputs = outputs, deep
    if values.ndim == 0 or values.shape[-1] != deep:
        raise InvalidArgument(
            f"{operation.op}: shapes {list(data.shape)} and {list(weights[1])} do not multiply"
        )
    flat = values.reshape(-1, deep)
    pieces = iter([(slice(0, len(flat)), flat)])
    if operation.op == "MatMul":
        # Batches of one that the weights have more of than the data.
        ones = (1,) * (len(weights[1]) - max(values.ndim, 2))
        return Rows(len(flat), pieces, operation, (*ones, *values.shape[:-1], outputs))
    return Rows(len(flat), pieces, operation, (*values.shape[:-1], outputs))


def _patches(operation: Operation, data: Array, weights: Shape) -> Rows:
    attributes = operation.attributes
    space = len(weights) - 2
    if data.ndim != len(weights) or data.shape[1] != weights[1] * int(attributes.get("group", 1)):
        raise InvalidArgument(f"Conv: shapes {list(data.shape)} and {list(weights)} do not fit")
    kernel = weights[2:]
    strides = _each(attributes, "strides", space, 1)
    dilations = _each(attributes, "dilations", space, 1)
    wide = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = _pads(attributes, data.shape[2:], wide, strides)
    pads = [(0, 0), (0, 0), *zip(begin, end, strict=True)]
    sizes = [size + b + e for size, b, e in zip(data.shape[2:], begin, end, strict=True)]
    if 4 * math.prod(data.shape[:2]) * math.prod(sizes) > _PADDED_BYTES:
        raise InvalidArgument(f"Conv: {list(data.shape)} padded to {sizes} is too large")
    if any(size < w for size, w in zip(sizes, wide, strict=True)):
        raise InvalidArgument(f"Conv: kernel {list(kernel)} is larger than {list(data.shape)}")
    padded = np.pad(data, pads) if any(begin) or any(end) else data
    counts = [(size - w) // s + 1 for size, w, s in zip(sizes, wide, strides, strict=True)]
    patches = _Patches(padded, kernel, counts, strides, dilations)
    shape = (len(data), weights[0], *counts)
    return Rows(len(data) * math.prod(counts), patches.pieces(), operation, shape)


@dataclass(frozen=True, slots=True)
class _Patches:
    """What each output pixel of padded images (batch, channels, positions…) sees."""

    images: Array
    kernel: Shape
    counts: list[int]  # output pixels along each axis
    strides: list[int]
    dilations: list[int]

    def pieces(self) -> Iterator[tuple[slice, Array]]:
        """Patches (pixels, channels x kernel) of as many lines as fit the bound, in order."""
        deep = self.images.shape[1] * math.prod(self.kernel)
        line = math.prod(self.counts[1:])
        lines = max(1, _PATCH_BYTES // max(1, 4 * deep * line))
        done = 0
        for image in self.images:
            last = np.ascontiguousarray(np.moveaxis(image, 0, -1))
            for first in range(0, self.counts[0], lines):
                piece = self._lines(last, first, min(lines, self.counts[0] - first))
                yield slice(done, done + len(piece)), piece
                done += len(piece)

    def _lines(self, image: Array, first: int, lines: int) -> Array:
        """Patches of some lines of an image (positions…, channels), copied place by place.

        With channels last what is read at a time lies together: 3 to 8 times as fast as windows.
        """
        counts, channels = (lines, *self.counts[1:]), image.shape[-1]
        piece = np.empty((*counts, channels, math.prod(self.kernel)), np.float32)
        begins = (first * self.strides[0], *(0 for _ in counts[1:]))
        for index, place in enumerate(np.ndindex(*self.kernel)):
            starts = [b + p * d for b, p, d in zip(begins, place, self.dilations, strict=True)]
            seen = tuple(
                slice(start, start + (count - 1) * stride + 1, stride)
                for start, count, stride in zip(starts, counts, self.strides, strict=True)
            )
            piece[..., index] = image[seen]
        return piece.reshape(math.prod(counts), -1)


def _each(attributes: Mapping[str, Any], name: str, space: int, default: int) -> list[int]:
    found = [int(value) for value in attributes.get(name, ())] or [default] * space
    if len(found) != space or any(value < 1 for value in found):
        raise InvalidArgument(f"Conv: {name} = {found} for {space} spatial axes")
    return found


def _pads(
    attributes: Mapping[str, Any], sizes: Shape, wide: list[int], strides: list[int]
) -> tuple[list[int], list[int]]:
    space = len(wide)
    mode = str(attributes.get("auto_pad", "NOTSET") or "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (-(-size // s) - 1) * s + w - size)
            for size, s, w in zip(sizes, strides, wide, strict=True)
        ]
        half = [each // 2 for each in total]
        rest = [each - h for each, h in zip(total, half, strict=True)]
        return (half, rest) if mode == "SAME_UPPER" else (rest, half)
    given = [int(value) for value in attributes.get("pads", ())] if mode == "NOTSET" else []
    given = given or [0] * (2 * space)
    if len(given) != 2 * space or any(value < 0 for value in given):
        raise InvalidArgument(f"Conv: pads = {given} for {space} spatial axes")
    return given[:space], given[space:]
