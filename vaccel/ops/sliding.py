"""Pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.ops.calls import Given, Ints, kernel, result, unary

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array

global_max_pool = unary(
    "global_max_pool", "np.float32([[[1, 5], [2, 3]]])", "[[[5.]\n  [3.]]]"
)
global_average_pool = unary(
    "global_average_pool", "np.float32([[[1, 5], [2, 3]]])", "[[[3. ]\n  [2.5]]]"
)


@kernel
def max_pool(
    device: Device,
    x: Given,
    kernel: Ints,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
) -> Array:
    """The greatest element of each window.

    >>> print(ops.max_pool(device, np.int8([[[1, 5, 2, 3]]]), 2, stride=2))
    [[[5 3]]]
    """
    return result(
        device,
        "max_pool",
        {"x": x},
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


@kernel
def average_pool(
    device: Device,
    x: Given,
    kernel: Ints,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    count_padding: bool = False,
) -> Array:
    """The mean of each window.

    >>> print(ops.average_pool(device, np.float32([[[1, 5, 2, 4]]]), 2, stride=2))
    [[[3. 3.]]]
    """
    return result(
        device,
        "average_pool",
        {"x": x},
        kernel=kernel,
        stride=stride,
        padding=padding,
        count_padding=count_padding,
    )
