"""An ordinary program that runs the workloads on a VF: ``python3 -m vaccel.bench.guest all DATA``.

It knows the SDK and NumPy only, and needs no rights. With ``--json`` it prints one object with all
outputs, so that somebody else can check them; with ``--time N`` it times N single calls per model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

import vaccel
from vaccel import errors
from vaccel.bench import queued, report
from vaccel.bench.workloads import cases
from vaccel.model import Cost

# Calls of a new process before it times: an emulator translates code when it first meets it.
WARM_UPS: Final = 6


def run(device: vaccel.Device, case: cases.Case) -> report.Row:
    """The whole workload on the device, wall times in milliseconds."""
    start = time.perf_counter()
    model = device.load(case.model_file)
    loaded = time.perf_counter()
    if isinstance(case, cases.SileroCase):
        outputs, costs = queued.run(device, model, case.samples)
    else:
        outputs, costs = called(model, case)
    ended = time.perf_counter()
    return report.Row(
        model=case.name,
        answer=case.decide(outputs),
        launches=len(costs),
        cycles=sum(cost.critical_cycles for cost in costs),
        device_ns=sum(cost.device_ns for cost in costs),
        joules=math.fsum(cost.total_joules for cost in costs),
        load_ms=(loaded - start) * 1e3,
        wall_ms=(ended - loaded) * 1e3,
        outputs=outputs,
    )


def called(model: Callable[..., Any], case: cases.Case) -> tuple[cases.Arrays, list[Cost]]:
    """The plain way: one call after the other, arrays in and arrays out."""
    costs: list[Cost] = []

    def call(**inputs: NDArray[Any]) -> cases.Arrays:
        outputs: Any = model(**inputs)
        costs.append(outputs.cost)
        return dict(outputs)

    return case.run(call), costs


def timed(model: Callable[..., Any], case: cases.Case, runs: int) -> list[float]:
    """Wall time of single calls in milliseconds, after some that warm up."""
    inputs = case.call()
    times = []
    for _ in range(WARM_UPS + runs):
        start = time.perf_counter()
        model(**inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return times[WARM_UPS:]


def main(argv: list[str] | None = None) -> int:
    """The program; its exit code is that of the error class."""
    chosen = _arguments(argv)
    try:
        selected = cases.load(chosen.workload, chosen.data)
        with vaccel.open() as device:
            if chosen.time:
                rows = {c.name: timed(device.load(c.model_file), c, chosen.time) for c in selected}
                print(json.dumps(rows))
                return 0
            done = [run(device, case) for case in selected]
    except errors.VaccelError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    if chosen.json:
        print(report.pack(done))
        return 0
    for row in done:
        print(f"{row.model}: {row.answer}")
        spent = f"{row.cycles} cycles, {row.device_ns / 1e6:.3f} ms, {row.joules:.6f} J"
        print(f"  on the device: {spent}")
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vaccel.bench.guest", description=__doc__)
    parser.add_argument("workload", choices=[*cases.NAMES, "all", "timed"])
    parser.add_argument("data", type=Path, help="the folder with models and inputs")
    parser.add_argument("--json", action="store_true", help="one JSON object with all outputs")
    parser.add_argument("--time", type=int, default=0, metavar="N", help="only time N calls")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
