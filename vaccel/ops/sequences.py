"""Attention and recurrent cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vaccel.ops.calls import Given, kernel, result, results

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array


class Recurrent(NamedTuple):
    """The state after each step, and after the last."""

    y: Array
    y_h: Array


class LongShortTerm(NamedTuple):
    """The state after each step and after the last, and the last cell."""

    y: Array
    y_h: Array
    y_c: Array


class Cached(NamedTuple):
    """What attention gave, and the keys and values for the next step."""

    result: Array
    present_key: Array
    present_value: Array


@kernel
def rnn(
    device: Device,
    x: Given,
    w: Given,
    r: Given,
    bias: Given | None = None,
    initial_h: Given | None = None,
    *,
    direction: str = "forward",
) -> Recurrent:
    """A plain recurrent layer.

    >>> x, w, r = np.zeros((3, 1, 2), np.float32), np.ones((1, 1, 2)), np.ones((1, 1, 1))
    >>> y, last = ops.rnn(device, x, w.astype("float32"), r.astype("float32"))
    >>> print(y.shape, last.shape)
    (3, 1, 1, 1) (1, 1, 1)
    """
    operands = {"x": x, "w": w, "r": r, "bias": bias, "initial_h": initial_h}
    return Recurrent(*results(device, "rnn", operands, direction=direction))


@kernel
def gru(
    device: Device,
    x: Given,
    w: Given,
    r: Given,
    bias: Given | None = None,
    initial_h: Given | None = None,
    *,
    direction: str = "forward",
    linear_before_reset: bool = False,
) -> Recurrent:
    """A gated recurrent layer.

    >>> x, zero = np.ones((1, 1, 2), np.float32), np.zeros((1, 3, 2), np.float32)
    >>> start = np.ones((1, 1, 1), np.float32)
    >>> print(ops.gru(device, x, zero, zero[..., :1], initial_h=start).y_h)
    [[[0.5]]]
    """
    operands = {"x": x, "w": w, "r": r, "bias": bias, "initial_h": initial_h}
    settings = {"direction": direction, "linear_before_reset": linear_before_reset}
    return Recurrent(*results(device, "gru", operands, **settings))


@kernel
def lstm(
    device: Device,
    x: Given,
    w: Given,
    r: Given,
    bias: Given | None = None,
    initial_h: Given | None = None,
    initial_c: Given | None = None,
    *,
    direction: str = "forward",
) -> LongShortTerm:
    """A long short-term memory layer.

    >>> x, zero = np.ones((1, 1, 2), np.float32), np.zeros((1, 4, 2), np.float32)
    >>> cell = np.ones((1, 1, 1), np.float32)
    >>> print(ops.lstm(device, x, zero, zero[..., :1], initial_c=cell).y_c)
    [[[0.5]]]
    """
    operands = {"x": x, "w": w, "r": r, "bias": bias}
    operands |= {"initial_h": initial_h, "initial_c": initial_c}
    return LongShortTerm(*results(device, "lstm", operands, direction=direction))


@kernel
def attention(
    device: Device,
    q: Given,
    k: Given,
    v: Given,
    mask: Given | None = None,
    *,
    scale: float = 0.0,
    causal: bool = False,
    arithmetic: str = "",
) -> Array:
    """Scaled dot-product attention.

    >>> q, v = np.zeros((1, 1, 2, 4), np.float32), np.float32([1, 3]).reshape(1, 1, 2, 1)
    >>> print(ops.attention(device, q, q, v, causal=True).ravel())
    [1. 2.]
    """
    operands = {"q": q, "k": k, "v": v, "mask": mask}
    settings = {"scale": scale, "causal": causal, "arithmetic": arithmetic}
    return result(device, "attention", operands, **settings)


@kernel
def cached_attention(
    device: Device,
    q: Given,
    k: Given,
    v: Given,
    past_key: Given,
    past_value: Given,
    mask: Given | None = None,
    *,
    scale: float = 0.0,
    causal: bool = False,
    arithmetic: str = "",
) -> Cached:
    """Attention of new queries over a cache that grows.

    >>> q, v = np.zeros((1, 1, 1, 4), np.float32), np.float32([1]).reshape(1, 1, 1, 1)
    >>> step = ops.cached_attention(device, q, q, v, q, 3 * v)
    >>> print(step.result.ravel(), step.present_value.ravel())
    [2.] [3. 1.]
    """
    operands = {"q": q, "k": k, "v": v, "past_key": past_key, "past_value": past_value}
    operands |= {"mask": mask} if mask is not None else {}
    settings = {"scale": scale, "causal": causal, "arithmetic": arithmetic}
    return Cached(*results(device, "cached_attention", operands, **settings))


@kernel
def rotary_embedding(
    device: Device, x: Given, cos: Given, sin: Given, positions: Given, *, interleaved: bool = False
) -> Array:
    """Positions, as angles.

    >>> x = np.float32([1, 2, 3, 4]).reshape(1, 1, 1, 4)
    >>> cos, sin = np.float32([[1, 1], [0, 0]]), np.float32([[0, 0], [1, 1]])  # of 0, 90 degrees
    >>> print(ops.rotary_embedding(device, x, cos, sin, [[1]]).ravel())
    [-3. -4.  1.  2.]
    """
    operands = {"x": x, "cos": cos, "sin": sin, "positions": positions}
    return result(device, "rotary_embedding", operands, interleaved=interleaved)
