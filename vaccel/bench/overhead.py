"""What a VF costs in wall time: one call in the guest against the same call in this process.

Both sides run the same model in fp32 with the same ONNX Runtime options and thread count on
ordinary arrays; making the inputs and reading the answer are outside the timing. Runs come in
blocks, guest and host in turn, because a command in a VM is one process from its start to its end:
a drift of the machine meets both sides. Each block warms up first.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaccel import __version__
from vaccel.bench import data
from vaccel.bench.guest import timed
from vaccel.bench.place import GUEST_MEMORY, WINDOW, Place, open_place
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.reference import Reference
from vaccel.bench.where import Where
from vaccel.bench.workloads import cases
from vaccel.errors import HostFault

BLOCKS = 3
RUNS_PER_BLOCK = 14
# On both sides.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over all runs; ``ratio`` of the medians, ``ratio_p99`` of the 99th percentiles."""

    model: str
    wall_ms_guest: float
    wall_ms_host_inprocess: float
    ratio: float
    ratio_p99: float


@dataclass(frozen=True, slots=True)
class Result:
    """The one object that a benchmark prints."""

    bench: str
    where: str
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: tuple[Row, ...]

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def run(where: Where, progress: Progress) -> Result:
    """Start what is needed, measure, stop. Raises ``vaccel.errors``."""
    with PrivateHost(threads=THREADS, progress=progress, window=WINDOW) as host:
        folder = host.folder / "data"
        folder.mkdir()
        data.prepare(folder, progress, timed=True)
        place = open_place(where, host, folder, progress, GUEST_MEMORY)
        accelerator = host.admin.status().accelerator
        guest, native = measure(place, folder, progress)
    rows = tuple(row(name, guest[name], native[name]) for name in guest)
    machine = describe_machine() | {"accelerator": accelerator}
    return Result("overhead", where.value, machine, describe_versions(), rows)


def measure(
    place: Place, folder: Path, progress: Progress
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds per call by model, in the guest and in this process."""
    loaded = [(case, Reference(case.model_file, THREADS)) for case in cases.load("timed", folder)]
    guest: dict[str, list[float]] = {case.name: [] for case, _ in loaded}
    native: dict[str, list[float]] = {case.name: [] for case, _ in loaded}
    for block in range(BLOCKS):
        progress(f"{BLOCKS} blocks of {RUNS_PER_BLOCK} runs on each side", block / BLOCKS)
        for name, times in _times(place.run(["timed", "--time", str(RUNS_PER_BLOCK)])).items():
            guest[name] += times
        for case, model in loaded:
            native[case.name] += timed(model, case, RUNS_PER_BLOCK)
    return guest, native


def row(model: str, guest: Sequence[float], native: Sequence[float]) -> Row:
    """Statistics of one model from milliseconds per call on either side."""
    median, tail = np.median, _p99
    return Row(
        model,
        float(median(guest)),
        float(median(native)),
        float(median(guest) / median(native)),
        tail(guest) / tail(native),
    )


def describe_machine() -> dict[str, Any]:
    """What the numbers depend on, and nothing that names the machine or its owner."""
    cpu = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()}",
        "unix_time": int(time.time()),
    }


def describe_versions() -> dict[str, str]:
    """Versions of what computes."""
    import onnxruntime

    return {
        "vaccel": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _p99(times: Sequence[float]) -> float:
    return float(np.percentile(times, 99))


def _times(text: str) -> dict[str, list[float]]:
    try:
        times = json.loads(text)
        names = (*cases.NAMES, *cases.SYNTHETIC)
        return {name: [float(one) for one in times[name]] for name in names}
    except (ValueError, KeyError, TypeError) as fault:
        raise HostFault(
            f"the guest program answered {text[:80]!r}, which is no list of times: {fault}",
            hint="is the guest's vaccel the same version as the host's?",
        ) from fault
