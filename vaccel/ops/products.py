"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.ops.calls import Given, kernel, result

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array


@kernel
def matmul(device: Device, a: Given, b: Given, *, arithmetic: str = "") -> Array:
    """The matrix product.

    >>> a, b = np.int8([[1, 2], [3, 4]]), np.int8([[1], [-1]])
    >>> print(ops.matmul(device, a, b))
    [[-1]
     [-1]]
    >>> print(ops.matmul(device, np.eye(2, dtype=np.float32), [[1.5], [2.5]], arithmetic="bf16"))
    [[1.5]
     [2.5]]
    """
    return result(device, "matmul", {"a": a, "b": b}, arithmetic=arithmetic)


@kernel
def batched_matmul(device: Device, a: Given, b: Given, *, arithmetic: str = "") -> Array:
    """One matrix product for each of a batch.

    >>> a = np.float32([[[1, 2]], [[3, 4]]])
    >>> print(ops.batched_matmul(device, a, np.float32([[[1], [1]], [[10], [10]]])).ravel())
    [ 3. 70.]
    """
    return result(device, "batched_matmul", {"a": a, "b": b}, arithmetic=arithmetic)


@kernel
def gemv(device: Device, a: Given, x: Given, *, arithmetic: str = "") -> Array:
    """A matrix by a vector.

    >>> print(ops.gemv(device, np.float32([[1, 2], [3, 4]]), np.float32([1, 10])))
    [21. 43.]
    """
    return result(device, "gemv", {"a": a, "x": x}, arithmetic=arithmetic)


@kernel
def linear(
    device: Device, x: Given, weight: Given, bias: Given | None = None, *, arithmetic: str = ""
) -> Array:
    """A fully connected layer.

    >>> print(ops.linear(device, np.float32([[1, 2]]), np.float32([[3, 4], [5, 6]]), [0.5, 1]))
    [[11.5 18. ]]
    """
    operands = {"x": x, "weight": weight, "bias": bias}
    return result(device, "linear", operands, arithmetic=arithmetic)
