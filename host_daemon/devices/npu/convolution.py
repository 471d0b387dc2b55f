"""Convolution of any rank as one product per tap of the kernel, so that memory stays at the
output's size.

    Y[n, m, p] = sum over t, c of W[m, c, t] * X[n, c, p * stride + t * dilation - pad]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaccel.bounds import WORKER_OVERHEAD_BYTES
from vaccel.errors import Exhausted, InvalidArgument
from vaccel.model import Shape


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over the input: one entry per spatial axis."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape
    outputs: Shape
    groups: int


def _sizes(attributes: Mapping[str, Any], key: str, rank: int, default: int) -> Shape:
    given = attributes.get(key)
    sizes = tuple(int(each) for each in given) if given else (default,) * rank
    if len(sizes) != rank or min(sizes) < default:
        raise InvalidArgument(f"convolution: {key} = {list(sizes)} for {rank} axes")
    return sizes


def window(attributes: Mapping[str, Any], data: Shape, weight: Shape) -> Window:
    """The window of a convolution's attributes. Raises InvalidArgument naming what does not fit."""
    rank = len(data) - 2
    if rank < 1 or len(weight) != len(data):
        raise InvalidArgument(f"convolution: input {list(data)} and weight {list(weight)}")
    groups = int(attributes.get("group", 1))
    if groups < 1 or data[1] != weight[1] * groups or weight[0] % groups:
        raise InvalidArgument(
            f"convolution: input {list(data)}, weight {list(weight)} in {groups} groups"
        )
    kernel = weight[2:]
    strides = _sizes(attributes, "strides", rank, 1)
    dilations = _sizes(attributes, "dilations", rank, 1)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    pads = _pads(attributes, data[2:], reach, strides)
    before, after = pads[:rank], pads[rank:]
    outputs = tuple(
        (size + low + high - far) // stride + 1
        for size, low, high, far, stride in zip(
            data[2:], before, after, reach, strides, strict=True
        )
    )
    if min(outputs) < 0:
        raise InvalidArgument(f"convolution: kernel {list(kernel)} is larger than {list(data)}")
    return Window(kernel, strides, dilations, before, after, outputs, groups)


def _pads(attributes: Mapping[str, Any], sides: Shape, reach: Shape, strides: Shape) -> Shape:
    rank = len(sides)
    mode = attributes.get("auto_pad", "NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else str(mode)
    if mode in ("NOTSET", ""):
        return _sizes(attributes, "pads", 2 * rank, 0)
    if mode == "VALID":
        return (0,) * (2 * rank)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise InvalidArgument(f"convolution: auto_pad = {mode!r}")
    totals = [
        max(0, (-(-size // stride) - 1) * stride + far - size)
        for size, far, stride in zip(sides, reach, strides, strict=True)
    ]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return tuple(small + large) if mode == "SAME_UPPER" else tuple(large + small)


def _taps(x: NDArray[Any], moves: Window) -> Iterator[tuple[Shape, NDArray[Any]]]:
    """Each tap's place in the kernel, and the inputs [N, G, C/G, pixels] that it meets."""
    pads = [(0, 0), (0, 0), *zip(moves.before, moves.after, strict=True)]
    grown = math.prod(side + sum(pad) for side, pad in zip(x.shape, pads, strict=True))
    # The padded copy is the worker's own memory, and its size a number in somebody's model.
    if grown * x.itemsize > max(WORKER_OVERHEAD_BYTES, 4 * x.nbytes):
        raise Exhausted(
            f"convolution: padding {list(moves.before)} and {list(moves.after)} makes"
            f" {list(x.shape)} {grown * x.itemsize} bytes long"
        )
    padded = np.pad(x, pads) if any(moves.before) or any(moves.after) else x
    for place in product(*(range(size) for size in moves.kernel)):
        along = tuple(
            slice(tap * dilation, tap * dilation + (count - 1) * stride + 1, stride)
            if count
            else slice(0, 0)
            for tap, dilation, count, stride in zip(
                place, moves.dilations, moves.outputs, moves.strides, strict=True
            )
        )
        met = padded[(slice(None), slice(None), *along)]
        channels = x.shape[1] // moves.groups
        yield place, met.reshape(x.shape[0], moves.groups, channels, math.prod(moves.outputs))


def convolve(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    moves: Window,
    multiply: Callable[[Any, Any], NDArray[Any]] = np.matmul,
    total: type[np.float32] | type[np.float64] = np.float32,
) -> NDArray[Any]:
    """[N, C, ...] by [M, C/groups, ...] to [N, M, ...], sums of ``multiply`` held in ``total``."""
    groups, outputs = moves.groups, w.shape[0] // moves.groups
    pixels = math.prod(moves.outputs)
    sums = np.zeros((x.shape[0], groups, outputs, pixels), total)
    for place, met in _taps(x, moves):
        index: tuple[Any, ...] = (slice(None), slice(None), *place)
        tap = w[index].reshape(groups, outputs, w.shape[1])
        sums += multiply(tap, met)
    return sums.reshape(x.shape[0], w.shape[0], *moves.outputs)
