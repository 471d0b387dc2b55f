"""Voice activity detection with Silero VAD: frames in, stretches of speech out.

The model takes 512 new samples of 16 kHz sound after the 64 samples before them, and a state that
it hands on from frame to frame. Framing and hysteresis follow ``silero_vad.utils_vad`` of the wheel
that ``vaccel.bench.models`` pins (``OnnxWrapper`` and ``get_speech_timestamps_from_probs``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaccel.bench.workloads.audio import Samples

RATE = 16_000
FRAME = 512
CONTEXT = 64

# The package's own defaults: the threshold to enter speech and the one to leave it, then seconds.
ENTER = 0.5
LEAVE = 0.35
MIN_SPEECH = 0.25
MIN_SILENCE = 0.1
PADDING = 0.03

Span = tuple[float, float]
Model = Callable[..., Mapping[str, NDArray[Any]]]


def frames(samples: Samples) -> Samples:
    """Samples of shape (n,) as frames of shape (ceil(n / 512), 576), each after its context.

    The context of the first frame, and what the last one lacks, is silence.
    """
    count = -(-len(samples) // FRAME)
    padded = np.zeros(CONTEXT + count * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    starts = np.arange(count)[:, None] * FRAME
    framed: Samples = padded[starts + np.arange(CONTEXT + FRAME)]
    return framed


def arguments(frame: Samples, state: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """One call: ``input`` (1, 576) float32, ``state`` (2, 1, 128) float32, ``sr`` () int64."""
    return {"input": frame[None, :], "state": state, "sr": np.array(RATE, np.int64)}


def first_state() -> NDArray[np.float32]:
    """The state before the first frame, shape (2, 1, 128)."""
    return np.zeros((2, 1, 128), np.float32)


def run(
    model: Model, samples: Samples, called: Callable[[], None] = lambda: None
) -> dict[str, NDArray[Any]]:
    """Every output of every frame: ``output`` (frames, 1, 1) and ``stateN`` (frames, 2, 1, 128).

    ``called`` is told after each call of the model.
    """
    state = first_state()
    outputs, states = [], []
    for frame in frames(samples):
        results = model(**arguments(frame, state))
        state = np.asarray(results["stateN"], np.float32)
        outputs.append(np.asarray(results["output"]))
        states.append(state)
        called()
    return {"output": np.array(outputs), "stateN": np.array(states)}


def spans(probabilities: Iterable[float], length: int) -> list[Span]:
    """Stretches of speech in seconds, from one probability per frame, of ``length`` samples in all.

    Speech begins where the probability reaches ``ENTER`` and ends where it fell below ``LEAVE`` and
    did not come back to ``ENTER`` for ``MIN_SILENCE``; what is shorter than ``MIN_SPEECH`` does not
    count.
    """
    found: list[tuple[int, int]] = []
    start, quiet = -1, -1
    for index, probability in enumerate(probabilities):
        now = index * FRAME
        if probability >= ENTER:
            start, quiet = (now if start < 0 else start), -1
        elif start >= 0 and probability < LEAVE:
            quiet = now if quiet < 0 else quiet
            if now - quiet >= MIN_SILENCE * RATE:
                found.append((start, quiet))
                start, quiet = -1, -1
    if start >= 0:
        found.append((start, length))
    margin = int(PADDING * RATE)
    # Two stretches are at least MIN_SILENCE apart, so their margins never meet.
    return [
        (max(0, start - margin) / RATE, min(length, end + margin) / RATE)
        for start, end in found
        if end - start > MIN_SPEECH * RATE
    ]


def decide(outputs: Mapping[str, NDArray[Any]], length: int) -> str:
    """The answer that a person can judge, such as ``speech 0.4-2.1 s, 2.9-4.0 s``."""
    return say(spans(outputs["output"].reshape(-1).tolist(), length))


def say(found: Sequence[Span]) -> str:
    """Stretches of speech in words."""
    if not found:
        return "no speech"
    return "speech " + ", ".join(f"{start:.1f}-{end:.1f} s" for start, end in found)
