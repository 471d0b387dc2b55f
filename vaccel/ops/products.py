"""Matrix products and convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.ops.calls import Given, Ints, kernel, result

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


@kernel
def conv1d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    group: int = 1,
    arithmetic: str = "",
) -> Array:
    """A convolution over time.

    >>> x, weight = np.float32([[[1, 2, 4]]]), np.float32([[[1, 1]]])
    >>> print(ops.conv1d(device, x, weight))
    [[[3. 6.]]]
    """
    return result(
        device,
        "conv1d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        group=group,
        arithmetic=arithmetic,
    )


@kernel
def conv2d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    group: int = 1,
    arithmetic: str = "",
) -> Array:
    """A convolution over an image.

    >>> x, weight = np.int8(np.arange(9)).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2), np.int8)
    >>> print(ops.conv2d(device, x, weight, stride=(1, 1), padding=1)[0, 0])
    [[ 0  1  3  2]
     [ 3  8 12  7]
     [ 9 20 24 13]
     [ 6 13 15  8]]
    """
    return result(
        device,
        "conv2d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        group=group,
        arithmetic=arithmetic,
    )


@kernel
def conv3d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    group: int = 1,
    arithmetic: str = "",
) -> Array:
    """A convolution over a volume.

    >>> x, weight = np.ones((1, 1, 2, 2, 2), np.float32), np.ones((1, 1, 2, 2, 2), np.float32)
    >>> print(ops.conv3d(device, x, weight).ravel())
    [8.]
    """
    return result(
        device,
        "conv3d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        group=group,
        arithmetic=arithmetic,
    )


@kernel
def depthwise_conv2d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    arithmetic: str = "",
) -> Array:
    """A convolution of each channel by itself.

    >>> x, weight = np.ones((1, 2, 2, 2), np.float32), np.float32([1, 3]).reshape(2, 1, 1, 1)
    >>> print(ops.depthwise_conv2d(device, x, weight)[0, :, 0])
    [[1. 1.]
     [3. 3.]]
    """
    return result(
        device,
        "depthwise_conv2d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        arithmetic=arithmetic,
    )


@kernel
def conv_transpose2d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    group: int = 1,
) -> Array:
    """A convolution backwards: an image grows.

    >>> x, weight = np.float32([[1, 2]]).reshape(1, 1, 1, 2), np.ones((1, 1, 1, 2), np.float32)
    >>> print(ops.conv_transpose2d(device, x, weight, stride=2).ravel())
    [1. 1. 2. 2.]
    """
    return result(
        device,
        "conv_transpose2d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        group=group,
    )
