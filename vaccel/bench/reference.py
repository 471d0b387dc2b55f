"""The other side of every comparison: ONNX Runtime in this process, and what agreement means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaccel.errors import HostFault

Arrays = Mapping[str, NDArray[Any]]

# Both sides compute in fp32, but may add in another order.
RELATIVE = 1e-4
ABSOLUTE = 1e-5


class Reference:
    """A model in ONNX Runtime, called as a model of the SDK is.

    The options are those that a VF's worker gives its sessions. Raises HostFault where ONNX Runtime
    is not installed.
    """

    def __init__(self, path: Path, threads: int) -> None:
        # The wheel's telemetry thread starts on import, and would take part in what is timed.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime as ort
        except ImportError as missing:
            raise HostFault(
                "ONNX Runtime is not installed here", hint="run `make setup`"
            ) from missing
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, **inputs: NDArray[Any]) -> Arrays:
        """The outputs by name."""
        return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether all outputs agree, the largest absolute difference, and what differs first or ""."""

    agrees: bool
    max_error: float
    difference: str


def compare(found: Arrays, expected: Arrays) -> Agreement:
    """Every element within ``ABSOLUTE + RELATIVE * |expected|``; names, shapes, types the same."""
    if found.keys() != expected.keys():
        return Agreement(False, float("inf"), f"outputs {sorted(found)}, not {sorted(expected)}")
    worst, difference = 0.0, ""
    for name, right in expected.items():
        left = found[name]
        if (left.shape, left.dtype) != (right.shape, right.dtype):
            return Agreement(
                False,
                float("inf"),
                f"{name} is {left.dtype}{left.shape}, not {right.dtype}{right.shape}",
            )
        gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
        worst = max(worst, float(gap.max(initial=0.0)))
        # Written so that a NaN disagrees.
        good = gap <= ABSOLUTE + RELATIVE * np.abs(right.astype(np.float64))
        if not difference and not good.all():
            place = tuple(int(i) for i in np.argwhere(~good)[0])
            difference = f"{name}{list(place)} is {left[place]}, not {right[place]}"
    return Agreement(not difference, worst, difference)
