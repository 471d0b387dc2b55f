"""Normally distributed numbers in float32, twice as fast as NumPy's.

Box and Muller's transform, on whole arrays: its logarithm, sine and cosine are vector
instructions, where NumPy's generator makes one number after another. With uniform numbers of 23
bits the largest deviation is 5.65.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.reals import Reals

# Numbers made at once, so that they stay in a cache.
_BLOCK: Final = 1 << 15
_TURN: Final = np.float32(2 * np.pi)


def normals(rng: np.random.Generator, shape: tuple[int, ...], sigma: float = 1.0) -> Reals:
    """Independent numbers of mean 0 and deviation ``sigma``, float32 of that shape."""
    values = np.empty(shape, np.float32)
    flat = values.reshape(-1)
    even = flat.size // 2 * 2
    scale = np.float32(-2 * sigma * sigma)
    for start in range(0, even, _BLOCK):
        _fill(rng, flat[start : min(start + _BLOCK, even)], scale)
    if even < flat.size:
        pair = np.empty(2, np.float32)
        _fill(rng, pair, scale)
        flat[-1] = pair[0]
    return values


def _fill(rng: np.random.Generator, out: Reals, scale: np.float32) -> None:
    half = out.size // 2
    drawn = _ones_and_more(rng, out.size)
    radius, angle = drawn[:half], drawn[half:]
    np.subtract(2, radius, out=radius)
    np.log(radius, out=radius)
    radius *= scale
    np.sqrt(radius, out=radius)
    angle *= _TURN
    np.cos(angle, out=out[:half])
    np.sin(angle, out=out[half:])
    out[:half] *= radius
    out[half:] *= radius


def _ones_and_more(rng: np.random.Generator, size: int) -> Reals:
    """Uniform numbers from 1 to below 2: 23 random bits each below the exponent of 1.

    Twice as fast as ``rng.random``, which makes one after another. ``size`` is even.
    """
    bits = np.asarray(rng.bit_generator.random_raw(size // 2), np.uint64).view(np.uint32)
    bits >>= np.uint32(9)
    bits |= np.uint32(0x3F800000)
    return bits.view(np.float32)
