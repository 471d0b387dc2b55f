"""Whether public models give on a VF what ONNX Runtime gives in this process.

In fp32 each output of each input must be within 1e-4 relative plus 1e-5 absolute. In the short
arithmetic of the arrays what must be the same is what is decided by it, in 99 of 100 decisions. The
inputs are synthetic and seeded (``agreement_models``, ``agreement_pictures``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vaccel.bench import models, result
from vaccel.bench.agreement_models import MODELS, Make, PublicModel, seeded
from vaccel.bench.choice import chosen
from vaccel.bench.decisions import Answers, decided, inputs_of
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
ARITHMETIC: Final = ("fp32", "bf16", "int8")
# Of the decisions in short arithmetic, so many must be those of float32.
SAME: Final = 0.99


@dataclass(frozen=True, slots=True)
class Row:
    """``agreed`` of ``inputs`` are within the bound; ``worst`` is the largest difference by it.

    ``same`` of all ``decisions`` are those of float32, and all of those about ``unchanged`` inputs.
    ``cycles`` and ``nodes`` are of the last input.
    """

    model: str
    arithmetic: str
    synthetic: bool
    inputs: int
    agreed: int
    worst: float
    decisions: int
    same: int
    unchanged: int
    cycles: int
    nodes: dict[str, int]

    @property
    def passed(self) -> bool:
        """Whether it is as it must be in its arithmetic."""
        if self.arithmetic == "fp32":
            return self.agreed == self.inputs
        return self.same >= SAME * self.decisions


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
        return all(row.passed for row in self.rows)


def run(
    progress: Progress,
    count: int = INPUTS,
    only: str = "",
    arithmetic: Sequence[str] = ARITHMETIC,
) -> Result:
    """Compare on a VF of a private daemon. ``only`` is part of the models' names.

    Raises NotFound where none is called so, HostFault where a model's package cannot be had,
    Unsupported for an arithmetic that the card lacks.
    """
    import vaccel

    taken = chosen("model", MODELS, only, lambda model: model.name)
    rows: list[Row] = []
    with PrivateHost(threads=THREADS, progress=progress) as host:
        vf = host.admin.create_vf(PROFILE)
        vf = host.admin.attach_vf(vf.id, local=True, progress=progress)
        with vaccel.open(address=vf.socket) as device:
            for index, each in enumerate(taken):
                progress(f"{each.name}: {count} inputs on both sides", index / len(taken))
                path = models.fetch(each.package, progress) / each.file
                native = Native(Reference(path, THREADS))
                for name in arithmetic:
                    loaded = device.load(path, arithmetic="" if name == "fp32" else name)
                    rows.append(compare(loaded, native, each, count, name))
                    loaded.unload()
    return Result(*result.head("agreement"), RELATIVE, ABSOLUTE, SEED, tuple(rows))


class Native:
    """The other side, which remembers what it said to the same inputs made in the same way."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._said: dict[tuple[Make, int], Answers] = {}

    def answer(self, make: Make, index: int, inputs: Mapping[str, Any]) -> Answers:
        """The answer to the input of that index."""
        if (make, index) not in self._said:
            self._said[make, index] = self._reference(**inputs)
        return self._said[make, index]


def compare(
    loaded: vaccel.Model, native: Native, model: PublicModel, count: int, arithmetic: str
) -> Row:
    """One model on both sides, in one arithmetic on the VF."""
    # What must agree as numbers is tried on noise, what must agree in meaning on what has one.
    make = model.inputs if arithmetic == "fp32" else inputs_of(model)
    differences: list[float] = []
    decisions = same = unchanged = cycles = 0
    nodes: dict[str, int] = {}
    for index, inputs in enumerate(seeded(replace(model, inputs=make), count, SEED)):
        outputs, expected = loaded(inputs), native.answer(make, index, inputs)
        differences.append(difference(outputs, expected))
        alike = _alike(model, outputs, expected)
        decisions, same = decisions + alike.size, same + int(alike.sum())
        unchanged += bool(alike.all())
        cycles, nodes = outputs.cost.critical_cycles, dict(outputs.cost.nodes)
    agreed = sum(each <= 1 for each in differences)
    worst = max(differences, default=0.0)
    return Row(
        model.name,
        arithmetic,
        True,
        count,
        agreed,
        worst,
        decisions,
        same,
        unchanged,
        cycles,
        nodes,
    )


def _alike(model: PublicModel, outputs: Answers, expected: Answers) -> Any:
    """For each decision whether it is the same on both sides."""
    first = next(iter(expected))
    ours, theirs = (decided(model, {first: each[first]}) for each in (outputs, expected))
    return np.asarray(ours == theirs)


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
