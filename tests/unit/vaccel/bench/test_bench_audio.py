"""WAV files and resampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vaccel.bench.workloads import audio
from vaccel.bench.workloads.audio import Samples
from vaccel.errors import InvalidArgument


def tone(hertz: float, rate: int, seconds: float = 0.5) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("hertz", [50, 440, 3000, 7000])
def test_a_tone_below_the_new_limit_stays_the_same_tone(hertz: float) -> None:
    found = audio.resample(tone(hertz, 22050), 22050, 16000)
    expected = tone(hertz, 16000)

    assert len(found) == len(expected)
    middle = slice(200, -200)
    assert np.abs(found[middle] - expected[middle]).max() < 2e-3


@pytest.mark.parametrize("hertz", [8400, 9500, 10800])
def test_a_tone_above_the_new_limit_is_gone(hertz: float) -> None:
    found = audio.resample(tone(hertz, 22050), 22050, 16000)

    assert np.abs(found[200:-200]).max() < 2e-3


def test_upwards_too() -> None:
    found = audio.resample(tone(1000, 8000), 8000, 16000)

    assert np.abs(found[200:-200] - tone(1000, 16000)[200:-200]).max() < 2e-3


def test_a_constant_stays_constant() -> None:
    found = audio.resample(np.full(3000, 0.25, np.float32), 22050, 16000)

    assert np.allclose(found[100:-100], 0.25, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 441, 442])
def test_length_is_rounded_up(count: int) -> None:
    assert len(audio.resample(np.ones(count, np.float32), 22050, 16000)) == -(-count * 320 // 441)


def test_the_same_rate_changes_nothing() -> None:
    samples = tone(440, 16000)

    assert audio.resample(samples, 16000, 16000) is samples


def test_wav_there_and_back(tmp_path: Path) -> None:
    samples = np.array([0, 0.5, -0.5, -1, 2, -2], np.float32)
    audio.write_wav(tmp_path / "a.wav", samples, 16000)

    found, rate = audio.read_wav(tmp_path / "a.wav")

    assert rate == 16000
    assert found.tolist() == [0, 0.5, -0.5, -1, 32767 / 32768, -1]


def test_what_is_no_wav_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")

    with pytest.raises(InvalidArgument, match=r"a\.wav is no WAV file"):
        audio.read_wav(tmp_path / "a.wav")
