"""Whether int8 is faster than fp32: the same network twice on the same VF, in turn.

Launches are queued some at a time on operands in device memory, so that what is timed is computing.
On a CPU with VNNI the worker's integer kernels do four products where the float ones do one. What
the card would have spent is beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from vaccel.bench import result
from vaccel.bench.place import PROFILE
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.quantised_models import pairs
from vaccel.commands import Launch
from vaccel.commands import Result as Place
from vaccel.model import Array, Cost

if TYPE_CHECKING:
    import vaccel

RUNS: Final = 10
# Launches in one queue.
QUEUE: Final = 4
THREADS: Final = 1
# Runs a queue of launches: the result of the last, and what each cost the card.
Call = Callable[[], tuple[Array, Cost]]


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of a launch's wall time, and the card's cycles and joules. ``difference`` is the rms
    of the results' difference over the rms of the fp32 result.
    """

    model: str
    fp32_ms: float
    int8_ms: float
    speedup: float
    difference: float
    fp32_cycles: int
    int8_cycles: int
    fp32_joules: float
    int8_joules: float


@dataclass(frozen=True, slots=True)
class Result(result.Result):
    """The one object that the benchmark prints. ``vnni``: whether the CPU has it."""

    vnni: bool
    rows: tuple[Row, ...]


def run(progress: Progress) -> Result:
    """Start a private daemon, measure, stop. Raises ``vaccel.errors``."""
    import vaccel

    rows = []
    with PrivateHost(threads=THREADS, progress=progress) as host:
        vf = host.admin.create_vf(PROFILE)
        vf = host.admin.attach_vf(vf.id, local=True, progress=progress)
        with vaccel.open(address=vf.socket) as device:
            for pair in pairs():
                progress(f"{pair.name}: {RUNS} queues of {QUEUE} launches of each", -1.0)
                fp32, int8 = (_call(device, each, pair.input) for each in (pair.fp32, pair.int8))
                rows.append(measure(pair.name, fp32, int8))
    flags = Path("/proc/cpuinfo").read_text()
    vnni = "avx512_vnni" in flags or "avx_vnni" in flags
    return Result(*result.head("quantised"), vnni, tuple(rows))


def measure(name: str, fp32: Call, int8: Call, runs: int = RUNS) -> Row:
    """Run both in turn, after a warm-up of each."""
    (exact, fp32_cost), (rounded, int8_cost) = fp32(), int8()
    times: dict[str, list[float]] = {"fp32": [], "int8": []}
    for _ in range(runs):
        for kind, call in (("fp32", fp32), ("int8", int8)):
            start = time.perf_counter()
            call()
            times[kind].append(1e3 * (time.perf_counter() - start) / QUEUE)
    slow, fast = (float(np.median(times[kind])) for kind in ("fp32", "int8"))
    reference = np.asarray(exact, np.float64)
    error = np.sqrt(np.mean((np.asarray(rounded, np.float64) - reference) ** 2))
    return Row(
        name,
        slow,
        fast,
        slow / fast,
        float(error / np.sqrt(np.mean(reference**2))),
        fp32_cost.critical_cycles,
        int8_cost.critical_cycles,
        fp32_cost.total_joules,
        int8_cost.total_joules,
    )


def _call(device: vaccel.Device, built: bytes, data: Array) -> Call:
    model = device.load(built)
    shape = model(data)["y"].shape
    given = device.buffer(data)
    result = device.buffer(4 * math.prod(shape))
    arguments = {"x": given.tensor("float32", data.shape)}
    launch = Launch(model.id, arguments, (Place("y", result.at()),))
    stream = device.stream()

    def call() -> tuple[Array, Cost]:
        done = stream.submit(*[launch] * QUEUE).wait()
        return result.read("float32", shape), done.cost or Cost()

    return call
