"""Kernels that take each element by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.ops.calls import Given, binary, kernel, result, unary

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array

abs = unary("abs", "np.float32([-1.5, 2])", "[1.5 2. ]")
negative = unary("negative", "np.int8([1, -2])", "[-1  2]")
sign = unary("sign", "np.float32([-3, 0, 2])", "[-1.  0.  1.]")
reciprocal = unary("reciprocal", "np.float32([2, 4])", "[0.5  0.25]")
sqrt = unary("sqrt", "np.float32([4, 9])", "[2. 3.]")
exp = unary("exp", "np.float32([0])", "[1.]")
log = unary("log", "np.float32([1])", "[0.]")
sin = unary("sin", "np.float32([0])", "[0.]")
cos = unary("cos", "np.float32([0])", "[1.]")
tanh = unary("tanh", "np.float32([0, 20])", "[0. 1.]")
erf = unary("erf", "np.float32([0, 9])", "[0. 1.]")
floor = unary("floor", "np.float32([-1.5, 1.5])", "[-2.  1.]")
ceil = unary("ceil", "np.float32([-1.5, 1.5])", "[-1.  2.]")
round = unary("round", "np.float32([0.5, 1.5, 2.5])", "[0. 2. 2.]")
is_nan = unary("is_nan", "np.float32([1, np.nan])", "[False  True]")
logical_not = unary("logical_not", "np.array([True, False])", "[False  True]")
relu = unary("relu", "np.float32([-1, 2])", "[0. 2.]")
sigmoid = unary("sigmoid", "np.float32([0])", "[0.5]")
silu = unary("silu", "np.float32([0, 40])", "[ 0. 40.]")
mish = unary("mish", "np.float32([0, 40])", "[ 0. 40.]")
softplus = unary("softplus", "np.float32([40])", "[40.]")
softsign = unary("softsign", "np.float32([-1, 3])", "[-0.5   0.75]")
hard_swish = unary("hard_swish", "np.float32([-4, 0, 4])", "[-0.  0.  4.]")

add = binary("add", "np.float32([1, 2]), np.float32([[1], [10]])", "[[ 2.  3.]\n [11. 12.]]")
subtract = binary("subtract", "np.int32([5, 6]), 1", "[4 5]")
multiply = binary("multiply", "np.float32([1, 2]), 3", "[3. 6.]")
divide = binary("divide", "np.float32([1, 2]), 4", "[0.25 0.5 ]")
power = binary("power", "np.float32([2, 3]), 2", "[4. 9.]")
fmod = binary("fmod", "np.float32([5, -5]), 3", "[ 2. -2.]")
minimum = binary("minimum", "np.int8([1, 7]), np.int8([4, 4])", "[1 4]")
maximum = binary("maximum", "np.int8([1, 7]), np.int8([4, 4])", "[4 7]")
equal = binary("equal", "np.int32([1, 2]), 2", "[False  True]")
less = binary("less", "np.float32([1, 2]), 2", "[ True False]")
less_equal = binary("less_equal", "np.float32([1, 2]), 2", "[ True  True]")
greater = binary("greater", "np.float32([1, 2]), 1", "[False  True]")
greater_equal = binary("greater_equal", "np.float32([1, 2]), 1", "[ True  True]")
logical_and = binary("logical_and", "np.array([True, False]), True", "[ True False]")
logical_or = binary("logical_or", "np.array([True, False]), True", "[ True  True]")
logical_xor = binary("logical_xor", "np.array([True, False]), True", "[False  True]")


@kernel
def gelu(device: Device, x: Given, *, approximate: bool = False) -> Array:
    """The Gaussian error linear unit.

    >>> print(ops.gelu(device, np.float32([0, 40])))
    [ 0. 40.]
    """
    return result(device, "gelu", {"x": x}, approximate=approximate)


@kernel
def elu(device: Device, x: Given, *, alpha: float = 1.0) -> Array:
    """The exponential linear unit.

    >>> print(ops.elu(device, np.float32([-40, 2]), alpha=0.5))
    [-0.5  2. ]
    """
    return result(device, "elu", {"x": x}, alpha=alpha)


@kernel
def leaky_relu(device: Device, x: Given, *, alpha: float = 0.01) -> Array:
    """A relu whose negative side has a slope.

    >>> print(ops.leaky_relu(device, np.float32([-4, 2]), alpha=0.25))
    [-1.  2.]
    """
    return result(device, "leaky_relu", {"x": x}, alpha=alpha)


@kernel
def clip(
    device: Device, x: Given, *, low: float = float("-inf"), high: float = float("inf")
) -> Array:
    """Elements held between two bounds.

    >>> print(ops.clip(device, np.float32([-2, 0.5, 2]), low=-1, high=1))
    [-1.   0.5  1. ]
    """
    return result(device, "clip", {"x": x}, low=low, high=high)


@kernel
def cast(device: Device, x: Given, to: str | type) -> Array:
    """Elements in another type: one of NumPy's, or its name.

    >>> print(ops.cast(device, np.float32([1.75, -1.75]), "int8"))
    [ 1 -1]
    """
    return result(device, "cast", {"x": x}, to=to)


@kernel
def where(device: Device, condition: Given, a: Given, b: Given) -> Array:
    """Elements of one or the other.

    >>> print(ops.where(device, np.array([True, False]), np.float32([1, 2]), 0))
    [1. 0.]
    """
    return result(device, "where", {"condition": condition, "a": a, "b": b})
