"""STFT as ONNX's reference has it, all frames at once: the reference takes them one by one.

The formula is that of the operator's document, https://onnx.ai/onnx/operators/onnx__STFT.html; the
transform is NumPy's, in the precision of the signal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class STFT(OpRun):
    """(batch, signal, 1 or 2) to (batch, frames, bins, 2)."""

    op_domain = ""

    def _run(
        self,
        signal: Any,
        frame_step: Any,
        window: Any = None,
        frame_length: Any = None,
        onesided: Any = None,
    ) -> tuple[Any]:
        if signal.ndim != 3 or signal.shape[2] not in (1, 2):
            raise ValueError(f"signal of shape {list(signal.shape)}: none of (batch, length, 1)")
        given = window.shape[0] if window is not None else signal.shape[1]
        length = given if frame_length is None else int(np.reshape(frame_length, -1)[0])
        step = int(np.reshape(frame_step, -1)[0])
        if step < 1 or not 1 <= length <= signal.shape[1]:
            raise ValueError(
                f"signal of {signal.shape[1]} has no frames of {length} at steps of {step}"
            )
        weights = np.ones(length, signal.dtype) if window is None else window
        frames = _frames(signal, 1 + (signal.shape[1] - length) // step, step, len(weights))
        spectrum = _transformed(frames * weights, length, bool(onesided))
        return (np.stack([spectrum.real, spectrum.imag], -1).astype(signal.dtype),)


def _frames(signal: Any, count: int, step: int, size: int) -> Any:
    """(batch, count, size), complex where the signal is; zeros behind its end."""
    values = signal[..., 0] if signal.shape[2] == 1 else signal[..., 0] + 1j * signal[..., 1]
    missing = (count - 1) * step + size - values.shape[1]
    if missing > 0:
        values = np.pad(values, ((0, 0), (0, missing)))
    return np.lib.stride_tricks.sliding_window_view(values, size, 1)[:, : count * step : step]


def _transformed(frames: Any, length: int, onesided: bool) -> Any:
    if onesided and not np.iscomplexobj(frames):
        return np.fft.rfft(frames, length)
    found = np.fft.fft(frames, length)
    return found[..., : length // 2 + 1] if onesided else found
