"""ONNX's own suite of backends, run on a VF: how much of ONNX works, and where it runs.

All cases of the kinds node, simple and pytorch-*, for the device CPU; those of the kind real, which
download models, are left out. What counts as right is ONNX's own comparison.
"""

from __future__ import annotations

import contextlib
import io
import unittest
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import onnx
from onnx import ModelProto
from onnx.backend.test import BackendTest

from vaccel import onnx_backend
from vaccel.bench.choice import chosen
from vaccel.bench.place import PROFILE
from vaccel.bench.private_host import PrivateHost, Progress

CARD: Final = "kcloud-1"
THREADS: Final = 1
_SUFFIX: Final = "_cpu"
# Cases that no deterministic backend can pass, or that are no computing of a model.
_EXCLUDED: Final = (
    ("test_bernoulli", "expects one draw of NumPy's random numbers; ONNX fixes no generator"),
    ("test_gradient_of_", "differentiates a graph: a training step, of which nothing is run here"),
    ("test_loop16_seq_none", "its comparison takes the length of arrays of rank 0"),
    ("test_image_decoder_", "decodes image files, which a worker does not parse"),
)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A case that was not run, or failed, and why."""

    case: str
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """The one object that the benchmark prints. ``nodes`` counts executed nodes by where."""

    bench: str
    onnx: str
    card: str
    cases: int
    passed: int
    failed: int
    excluded: int
    exclusions: tuple[Exclusion, ...]
    failures: tuple[Exclusion, ...]
    nodes: dict[str, int]


class _Counting(onnx_backend.VaccelBackend):
    """The backend, with one model at a time on the VF, and a count of nodes."""

    device: ClassVar[str] = ""
    nodes: ClassVar[Counter[str]] = Counter()
    _last: ClassVar[onnx_backend.VaccelRep | None] = None

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Everything is tried."""
        return True

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """The suite's CPU is the VF."""
        return device == "CPU"

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> _CountingRep:
        """Load a model in place of the one before."""
        cls.forget()
        opened = super().prepare(model, cls.device)
        cls._last = opened
        return _CountingRep(opened.model)

    @classmethod
    def forget(cls) -> None:
        """Unload the last model."""
        if cls._last is not None:
            cls._last.close()
            cls._last = None


class _CountingRep(onnx_backend.VaccelRep):
    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        outputs = super().run(inputs, **kwargs)
        _Counting.nodes.update(self.cost.nodes)
        return outputs


def run(progress: Progress, only: str = "") -> Result:
    """Run the suite on a VF of a private daemon. ``only`` is part of the cases' names.

    Raises NotFound where none is called so, HostFault where the daemon does not come up.
    """
    chosen("case", _cases(), only, _name)  # before a daemon starts for nothing
    with PrivateHost(CARD, THREADS, progress) as host:
        vf = host.admin.create_vf(PROFILE)
        vf = host.admin.attach_vf(vf.id, local=True, progress=progress)
        return measure(f"@{vf.socket}", CARD, progress, only)


def measure(device: str, card: str, progress: Progress, only: str = "") -> Result:
    """Run the suite on a VF, named as ``onnx_backend`` does."""
    _Counting.device = device
    _Counting.nodes.clear()
    exclusions: list[Exclusion] = []
    failures: list[Exclusion] = []
    passed = 0
    cases = chosen("case", _cases(), only, _name)
    for index, case in enumerate(cases):
        name = _name(case)
        if index % 50 == 0:
            progress(f"case {index} of {len(cases)}", index / len(cases))
        reason = next((why for prefix, why in _EXCLUDED if name.startswith(prefix)), "")
        if reason:
            exclusions.append(Exclusion(name, reason))
        elif fault := _fault(case):
            failures.append(Exclusion(name, fault))
        else:
            passed += 1
    _Counting.forget()
    onnx_backend.close()
    return Result(
        "onnx",
        onnx.__version__,
        card,
        len(cases),
        passed,
        len(failures),
        len(exclusions),
        tuple(exclusions),
        tuple(failures),
        dict(sorted(_Counting.nodes.items())),
    )


def _name(case: unittest.TestCase) -> str:
    return case.id().rpartition(".")[2].removesuffix(_SUFFIX)


def _cases() -> Iterator[unittest.TestCase]:
    """The suite's cases, in order; those of real models, which download, left out."""
    with warnings.catch_warnings():
        # Some cases are made of overflows and divisions by zero, on purpose.
        warnings.simplefilter("ignore", RuntimeWarning)
        kinds = BackendTest(_Counting, __name__).test_cases
    for kind, tests in sorted(kinds.items()):
        if "Real" in kind:
            continue
        for name in sorted(vars(tests)):
            if name.startswith("test_") and name.endswith(_SUFFIX):
                yield tests(name)


def _fault(case: unittest.TestCase) -> str:
    """Why a case fails; "" where it passes."""
    result = unittest.TestResult()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case.run(result)
    wrong = [*result.errors, *result.failures]
    if wrong:
        lines = [line for line in wrong[0][1].splitlines() if line and not line[0].isspace()]
        errors = [i for i, line in enumerate(lines) if "Error" in line.partition(":")[0]]
        return " ".join(" ".join(lines[errors[-1] if errors else -1 :]).split())[:300]
    return f"skipped: {result.skipped[0][1]}" if result.skipped else ""
