"""Sound in NumPy: WAV files by the standard library, and a change of the sampling rate."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaccel.errors import InvalidArgument

Samples = NDArray[np.float32]

# Half the filter's length in zero crossings of the lower rate: about 80 dB of stop band with the
# window below, and 2.4 ms of reach at 16 kHz.
_CROSSINGS = 32
# Kaiser's beta for 80 dB: 0.1102 * (80 - 8.7). Oppenheim and Schafer, Discrete-Time Signal
# Processing, "FIR filters by the Kaiser window method".
_BETA = 7.857
# The pass band ends a little below the new Nyquist frequency, so that the filter's slope fits.
_ROLL_OFF = 0.95


def read_wav(path: Path) -> tuple[Samples, int]:
    """A 16-bit mono WAV file: samples in [-1, 1) of shape (n,), and the rate in Hz.

    Raises InvalidArgument where the file is of another form.
    """
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth())
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as fault:
        raise InvalidArgument(f"{path.name} is no WAV file: {fault}") from fault
    if form != (1, 2):
        raise InvalidArgument(
            f"{path.name} has {form[0]} channels of {8 * form[1]} bits", hint="give 16-bit mono"
        )
    return (np.frombuffer(data, "<i2") / 32768.0).astype(np.float32), rate


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write samples in [-1, 1], shape (n,), as 16-bit mono; what is outside is clipped."""
    scaled = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(scaled.tobytes())


def resample(samples: Samples, rate: int, target: int) -> Samples:
    """Samples of shape (n,) at ``rate`` Hz as ceil(n * target / rate) samples at ``target`` Hz.

    A windowed-sinc interpolator, one row of weights per phase (J. O. Smith, Digital Audio
    Resampling).
    """
    if rate == target:
        return samples
    shared = math.gcd(rate, target)
    up, down = target // shared, rate // shared
    cutoff = min(1.0, target / rate) * _ROLL_OFF
    reach = math.ceil(_CROSSINGS / cutoff)
    taps = np.arange(1 - reach, reach + 1)
    distance = taps[None, :] - np.arange(up)[:, None] / up
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, None)))
    weights = np.sinc(cutoff * distance) * window
    # Each phase passes a constant unchanged.
    weights /= weights.sum(axis=1, keepdims=True)
    position = np.arange(-(-len(samples) * up // down)) * down
    padded = np.pad(samples.astype(np.float64), (reach, reach + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach)[position // up + 1]
    result: Samples = np.einsum("nt,nt->n", windows, weights[position % up]).astype(np.float32)
    return result
