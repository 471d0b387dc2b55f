"""Kernels that pick, order and move elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vaccel.errors import InvalidArgument
from vaccel.ops.calls import Given, Ints, kernel, result, results

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array


class Picked(NamedTuple):
    """Elements, and where they stood."""

    values: Array
    indices: Array


@kernel
def gather(device: Device, x: Given, indices: Given, *, axis: int = 0) -> Array:
    """Slices along an axis.

    >>> print(ops.gather(device, np.float32([10, 20, 30]), [2, -3]))
    [30. 10.]
    """
    return result(device, "gather", {"x": x, "indices": indices}, axis=axis)


@kernel
def embedding(device: Device, table: Given, ids: Given) -> Array:
    """Rows of a table.

    >>> print(ops.embedding(device, np.float32([[1, 2], [3, 4]]), [1, 1, 0]))
    [[3. 4.]
     [3. 4.]
     [1. 2.]]
    """
    return result(device, "embedding", {"table": table, "ids": ids})


@kernel
def gather_elements(device: Device, x: Given, indices: Given, *, axis: int = -1) -> Array:
    """Single elements along an axis.

    >>> print(ops.gather_elements(device, np.int8([[1, 2], [3, 4]]), [[1], [0]]))
    [[2]
     [3]]
    """
    return result(device, "gather_elements", {"x": x, "indices": indices}, axis=axis)


@kernel
def top_k(device: Device, x: Given, k: int, *, axis: int = -1, largest: bool = True) -> Picked:
    """The greatest elements.

    >>> values, indices = ops.top_k(device, np.float32([3, 9, 4]), 2)
    >>> print(values, indices)
    [9. 4.] [1 2]
    """
    return Picked(*results(device, "top_k", {"x": x}, k=k, axis=axis, largest=largest))


@kernel
def sort(device: Device, x: Given, *, axis: int = -1, descending: bool = False) -> Picked:
    """Elements in order.

    >>> print(ops.sort(device, np.int32([3, 9, 4])).values)
    [3 4 9]
    """
    return Picked(*results(device, "sort", {"x": x}, axis=axis, descending=descending))


@kernel
def transpose(device: Device, x: Given, perm: Sequence[int] = ()) -> Array:
    """Axes in another order.

    >>> print(ops.transpose(device, np.int8([[1, 2], [3, 4]])))
    [[1 3]
     [2 4]]
    """
    return result(device, "transpose", {"x": x}, perm=perm)


@kernel
def concat(device: Device, parts: Sequence[Given], *, axis: int = 0) -> Array:
    """Tensors one after another.

    >>> print(ops.concat(device, [np.int8([1]), np.int8([2, 3])]))
    [1 2 3]
    """
    if not isinstance(parts, Iterable):
        raise InvalidArgument(
            f"kernel concat: parts is a {type(parts).__name__}", hint="give a list of arrays"
        )
    operands = {f"parts{index}": part for index, part in enumerate(parts)}
    return result(device, "concat", operands, axis=axis)


@kernel
def slice(
    device: Device, x: Given, starts: Ints, ends: Ints, *, axes: Ints = (), steps: Ints = ()
) -> Array:
    """A part of each axis.

    >>> print(ops.slice(device, np.int8([[1, 2, 3], [4, 5, 6]]), 0, 3, axes=1, steps=2))
    [[1 3]
     [4 6]]
    """
    return result(device, "slice", {"x": x}, starts=starts, ends=ends, axes=axes, steps=steps)


@kernel
def pad(
    device: Device, x: Given, pads: Ints, *, mode: str = "constant", value: float = 0.0
) -> Array:
    """Elements around a tensor.

    >>> print(ops.pad(device, np.float32([1, 2]), (1, 2), value=9))
    [9. 1. 2. 9. 9.]
    """
    return result(device, "pad", {"x": x}, pads=pads, mode=mode, value=value)


@kernel
def reshape(device: Device, x: Given, shape: Ints) -> Array:
    """The same elements in another shape.

    >>> print(ops.reshape(device, np.int8([1, 2, 3, 4]), (2, -1)))
    [[1 2]
     [3 4]]
    """
    return result(device, "reshape", {"x": x}, shape=shape)


@kernel
def expand(device: Device, x: Given, shape: Ints) -> Array:
    """Broadcast to a shape.

    >>> print(ops.expand(device, np.int8([[1], [2]]), (2, 3)))
    [[1 1 1]
     [2 2 2]]
    """
    return result(device, "expand", {"x": x}, shape=shape)


@kernel
def tile(device: Device, x: Given, repeats: Ints) -> Array:
    """A tensor repeated.

    >>> print(ops.tile(device, np.int8([[1, 2]]), (2, 2)))
    [[1 2 1 2]
     [1 2 1 2]]
    """
    return result(device, "tile", {"x": x}, repeats=repeats)
