"""Speech for Silero VAD, synthesised by espeak-ng, with silence of known length in between."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from vaccel import bounds
from vaccel.bench.workloads import audio, silero
from vaccel.bench.workloads.audio import Samples
from vaccel.errors import HostFault

# A sentence, and the seconds of silence before it.
SCRIPT: tuple[tuple[float, str], ...] = (
    (0.5, "The card is split."),
    (0.9, "Each part has its own memory."),
    (0.7, "Nobody hears a neighbour."),
)
# Silence after the last sentence, in seconds.
_TAIL = 0.6
# Below this amplitude a sentence has not begun yet, or is over: espeak-ng pads with near silence.
_FLOOR = 0.01


def synthesise(path: Path) -> list[silero.Span]:
    """Write the script as 16 kHz mono WAV; returns when each sentence is spoken, in seconds.

    Raises HostFault where espeak-ng is missing or fails.
    """
    pieces: list[Samples] = []
    spoken: list[silero.Span] = []
    now = 0
    for pause, sentence in SCRIPT:
        speech = _trimmed(_say(sentence))
        silence = np.zeros(round(pause * silero.RATE), np.float32)
        pieces += [silence, speech]
        now += len(silence)
        spoken.append((now / silero.RATE, (now + len(speech)) / silero.RATE))
        now += len(speech)
    pieces.append(np.zeros(round(_TAIL * silero.RATE), np.float32))
    audio.write_wav(path, np.concatenate(pieces), silero.RATE)
    return spoken


def _say(sentence: str) -> Samples:
    with tempfile.TemporaryDirectory(prefix="vaccel-speech-") as scratch:
        path = Path(scratch) / "sentence.wav"
        command = ["espeak-ng", "-v", "en", "-s", "150", "-w", str(path), sentence]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=bounds.CALL_SECONDS, check=False
            )
        except FileNotFoundError as missing:
            raise HostFault(
                "espeak-ng is not installed", hint="apt-get install espeak-ng"
            ) from missing
        if done.returncode or not path.exists():
            raise HostFault(
                f"espeak-ng ended with {done.returncode}: {done.stderr.strip() or 'no message'}",
                hint="run `espeak-ng -v en test` to see why",
            )
        samples, rate = audio.read_wav(path)
    return audio.resample(samples, rate, silero.RATE)


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > _FLOOR)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples
