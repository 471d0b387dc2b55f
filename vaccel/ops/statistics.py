"""Reductions, softmax and normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.ops.calls import Given, Ints, kernel, result

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array


@kernel
def reduce_sum(device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False) -> Array:
    """The sum over axes.

    >>> print(ops.reduce_sum(device, np.float32([[1, 2], [3, 4]]), axes=0))
    [4. 6.]
    """
    return result(device, "reduce_sum", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def reduce_mean(device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False) -> Array:
    """The mean over axes.

    >>> print(ops.reduce_mean(device, np.float32([[1, 2], [3, 4]]), axes=(0, 1)))
    2.5
    """
    return result(device, "reduce_mean", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def reduce_max(device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False) -> Array:
    """The greatest element over axes.

    >>> print(ops.reduce_max(device, np.float32([[1, 2], [3, 4]]), axes=1, keepdims=True))
    [[2.]
     [4.]]
    """
    return result(device, "reduce_max", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def reduce_min(device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False) -> Array:
    """The least element over axes.

    >>> print(ops.reduce_min(device, np.float32([[1, 2], [3, 4]]), axes=1))
    [1. 3.]
    """
    return result(device, "reduce_min", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def reduce_prod(device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False) -> Array:
    """The product over axes.

    >>> print(ops.reduce_prod(device, np.float32([[1, 2], [3, 4]])))
    24.0
    """
    return result(device, "reduce_prod", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def reduce_l2(device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False) -> Array:
    """The Euclidean norm over axes.

    >>> print(ops.reduce_l2(device, np.float32([[3, 4], [6, 8]]), axes=1))
    [ 5. 10.]
    """
    return result(device, "reduce_l2", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def reduce_log_sum_exp(
    device: Device, x: Given, *, axes: Ints = (), keepdims: bool = False
) -> Array:
    """A sum of exponentials, by logarithms, over axes.

    >>> print(ops.reduce_log_sum_exp(device, np.float32([[0, -90], [40, 3]]), axes=1))
    [ 0. 40.]
    """
    return result(device, "reduce_log_sum_exp", {"x": x}, axes=axes, keepdims=keepdims)


@kernel
def argmax(device: Device, x: Given, *, axis: int = -1, keepdims: bool = False) -> Array:
    """Where the greatest element stands.

    >>> print(ops.argmax(device, np.float32([[1, 2], [3, 4]])))
    [1 1]
    """
    return result(device, "argmax", {"x": x}, axis=axis, keepdims=keepdims)


@kernel
def argmin(device: Device, x: Given, *, axis: int = -1, keepdims: bool = False) -> Array:
    """Where the least element stands.

    >>> print(ops.argmin(device, np.float32([[1, 2], [3, 4]])))
    [0 0]
    """
    return result(device, "argmin", {"x": x}, axis=axis, keepdims=keepdims)


@kernel
def cumsum(device: Device, x: Given, *, axis: int = -1) -> Array:
    """Running sums.

    >>> print(ops.cumsum(device, np.int32([1, 2, 3])))
    [1 3 6]
    """
    return result(device, "cumsum", {"x": x}, axis=axis)


@kernel
def softmax(device: Device, x: Given, *, axis: int = -1) -> Array:
    """Shares that sum to one.

    >>> print(ops.softmax(device, np.float32([[0, 0], [-200, 9]])))
    [[0.5 0.5]
     [0.  1. ]]
    """
    return result(device, "softmax", {"x": x}, axis=axis)


@kernel
def log_softmax(device: Device, x: Given, *, axis: int = -1) -> Array:
    """The logarithm of softmax.

    >>> print(ops.log_softmax(device, np.float32([-30, 30])))
    [-60.   0.]
    """
    return result(device, "log_softmax", {"x": x}, axis=axis)


@kernel
def layer_norm(
    device: Device, x: Given, scale: Given, bias: Given | None = None, *, epsilon: float = 1e-5
) -> Array:
    """The last axis to mean 0 and variance 1.

    >>> x = np.float32([[1, 3], [10, 30]])
    >>> print(ops.layer_norm(device, x, np.float32([1, 2]), epsilon=0).round(3))
    [[-1.  2.]
     [-1.  2.]]
    """
    operands = {"x": x, "scale": scale, "bias": bias}
    return result(device, "layer_norm", operands, epsilon=epsilon)


@kernel
def rms_norm(device: Device, x: Given, scale: Given, *, epsilon: float = 1e-5) -> Array:
    """The last axis by its root mean square.

    >>> print(ops.rms_norm(device, np.float32([[1, 7]]), np.float32([5, 5]), epsilon=0).round(3))
    [[1. 7.]]
    """
    return result(device, "rms_norm", {"x": x, "scale": scale}, epsilon=epsilon)


@kernel
def batch_norm(
    device: Device,
    x: Given,
    scale: Given,
    bias: Given,
    mean: Given,
    variance: Given,
    *,
    epsilon: float = 1e-5,
) -> Array:
    """Channels by statistics that training found.

    >>> x, one = np.float32([[3, 5]]), np.float32([1, 1])
    >>> print(ops.batch_norm(device, x, one, 0 * one, one, 4 * one, epsilon=0))
    [[1. 2.]]
    """
    operands = {"x": x, "scale": scale, "bias": bias, "mean": mean, "variance": variance}
    return result(device, "batch_norm", operands, epsilon=epsilon)


@kernel
def group_norm(
    device: Device, x: Given, scale: Given, bias: Given, groups: int, *, epsilon: float = 1e-5
) -> Array:
    """Groups of channels to mean 0 and variance 1.

    >>> x, one = np.float32([1, 3, 10, 30]).reshape(1, 4, 1), np.ones(4, np.float32)
    >>> print(ops.group_norm(device, x, one, 0 * one, 2, epsilon=0).ravel().round(3))
    [-1.  1. -1.  1.]
    """
    operands = {"x": x, "scale": scale, "bias": bias}
    return result(device, "group_norm", operands, groups=groups, epsilon=epsilon)
