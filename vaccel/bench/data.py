"""The folder that goes to the guest as a disk: model files, and the inputs made on the host."""

from __future__ import annotations

import shutil
from pathlib import Path

from vaccel.bench import models, speech
from vaccel.bench.workloads import cases, files, magika, silero


def prepare(
    folder: Path, progress: models.Progress | None = None, *, timed: bool = False
) -> dict[str, str]:
    """Fill an empty folder as ``workloads.cases`` reads it; ``timed``: synthetic cases as well.

    Returns, by workload, what a perfect model would answer, as ``Case.decide`` says it: the inputs
    are made here. Raises HostFault where a wheel or a program is missing.
    """
    for name in cases.NAMES:
        shutil.copytree(models.fetch(name, progress), folder / name)
    for package in {each.package for each in cases.SYNTHETIC.values()} if timed else ():
        shutil.copytree(models.fetch(package, progress), folder / package)
    if progress is not None:
        progress("make the inputs", -1.0)
    spoken = speech.synthesise(folder / "silero" / "speech.wav")
    files.write(folder / "magika" / "files")
    return {"silero": silero.say(spoken), "magika": magika.say(files.KINDS)}
