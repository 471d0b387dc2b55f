"""Random products and convolutions, with their definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.unit.host_daemon.compiler.kernels import cases
from tests.unit.host_daemon.compiler.kernels.machines import MATRICES
from vaccel.kernels import KERNELS
from vaccel.kernels.products import spread

WINDOWS = ("conv1d", "conv2d", "conv3d", "depthwise_conv2d")


def multiply(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b.T if name == "linear" else a @ b


def windows(x: np.ndarray, kernel: tuple[int, ...], chosen: dict) -> np.ndarray:
    """What each output element of a convolution sees: [n, out…, channels, taps…]."""
    rank = x.ndim - 2
    stride, pads, dilation = (
        spread(chosen[name], rank, name) for name in ("stride", "padding", "dilation")
    )
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    reach = [(side - 1) * step + 1 for side, step in zip(kernel, dilation, strict=True)]
    out = [
        (have - need) // step + 1
        for have, need, step in zip(padded.shape[2:], reach, stride, strict=True)
    ]
    seen = np.empty((len(x), *out, x.shape[1], *kernel), x.dtype)
    for at in np.ndindex(*out):
        corner = [i * step for i, step in zip(at, stride, strict=True)]
        window = tuple(slice(c, c + r, d) for c, r, d in zip(corner, reach, dilation, strict=True))
        seen[(slice(None), *at)] = padded[(slice(None), slice(None), *window)]
    return seen


def slide(x: np.ndarray, w: np.ndarray, chosen: dict) -> np.ndarray:
    """The definition of a convolution, one group of channels after another."""
    rank, group = x.ndim - 2, chosen["group"]
    seen = windows(x, w.shape[2:], chosen)
    filters, channels = w.shape[0] // group, w.shape[1]
    parts = []
    for g in range(group):
        part = seen[(slice(None),) * (rank + 1) + (slice(g * channels, (g + 1) * channels),)]
        own = w[g * filters : (g + 1) * filters]
        axes = range(rank + 1, 2 * rank + 2), range(1, rank + 2)
        parts.append(np.tensordot(part, own, axes=axes))
    return np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)


def image(draw: st.DrawFn, name: str) -> tuple[tuple, tuple, dict]:
    """Shapes of an image and of weights, and settings in which the window fits."""
    rank = 2 if name == "depthwise_conv2d" else int(name[4])
    sides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilation = draw(st.sampled_from([(1,), (2,) * rank]))
    padding = draw(st.sampled_from([(0,), (1,) * rank, tuple(range(2 * rank))]))
    chosen = {"stride": (draw(st.integers(1, 2)),), "padding": padding, "dilation": dilation}
    group = draw(st.integers(1, 3))
    channels = group if rank == 2 and name[0] == "d" else group * draw(st.integers(1, 3))
    filters = group * draw(st.integers(1, 2))
    space = [(side - 1) * dilation[0] + draw(st.integers(1, 4)) for side in sides]
    data = (draw(st.integers(1, 2)), channels, *space)
    return data, (filters, channels // group, *sides), chosen | {"group": group}


def arrays_of(name: str, draw: st.DrawFn, rng: np.random.Generator, kind: str, other: str):
    """Operands, settings, and the exact bilinear operation with how many products it adds up."""
    if name in MATRICES:
        shapes = cases.dims(draw, KERNELS[name], k=draw(st.sampled_from([1, 7, 300])))
        left, right = list(shapes)[:2]
        chosen: dict = {}
        depth = shapes[left][-1]

        def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return multiply(name, a, b)

    else:
        data, weight, chosen = image(draw, name)
        shapes, left, right = {"x": data, "weight": weight, "bias": weight[:1]}, "x", "weight"
        depth = int(np.prod(weight[1:]))

        def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return slide(a, b, chosen)

    arrays = {
        left: cases.numbers(rng, shapes[left], kind),
        right: cases.numbers(rng, shapes[right], other),
    }
    if "bias" in shapes and kind.startswith("float") and draw(st.booleans()):
        arrays["bias"] = cases.numbers(rng, shapes["bias"], kind)
    given = {key: value for key, value in chosen.items() if KERNELS[name].attribute(key)}
    return arrays, given, exact, depth
