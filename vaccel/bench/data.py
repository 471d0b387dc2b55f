"""The folder that goes to the guest as a disk: model files, and the inputs made on the host."""

from __future__ import annotations

import shutil
from pathlib import Path

from vaccel.bench import models, speech
from vaccel.bench.workloads import cases, files


def prepare(folder: Path, progress: models.Progress | None = None) -> None:
    """Fill an empty folder as ``workloads.cases`` reads it. Raises HostFault if one is missing."""
    for name in cases.NAMES:
        shutil.copytree(models.fetch(name, progress), folder / name)
    if progress is not None:
        progress("make the inputs", -1.0)
    speech.synthesise(folder / "silero" / "speech.wav")
    files.write(folder / "magika" / "files")
