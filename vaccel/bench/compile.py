"""What loading a model takes: time, and memory of the worker that does it.

Each load is by a fresh worker, and the median of some counts; the peak is the most that the worker
had resident, the upload included, over what it had before. A second load of the same bytes by the
same worker finds the program there. Beside a program
file's time is that of one copy of its weights in this process.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from vaccel import loop, toolchain
from vaccel.bench import compile_models, result
from vaccel.bench.choice import chosen
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.compute import OnnxSource, Program
from vaccel.model import BufferRange
from vaccel.toolchain import Request

if TYPE_CHECKING:
    import vaccel

PROFILE: Final = "npu.2c.12g"
RUNS: Final = 3
CHAINS: Final = (1_000, 5_000, 20_000)
_CHAIN: Final = "chain-"
_VGG16: Final = ("vgg16", "vgg16.vxp")


@dataclass(frozen=True, slots=True)
class Row:
    """One model. ``compile_ms`` is the call that loads it, ``cpu_ms`` what the worker computed
    meanwhile, ``again_ms`` the call that loads it once more, ``upload_ms`` what brings it there,
    ``copy_ms`` one copy of its bytes.
    """

    model: str
    compile_ms: float
    cpu_ms: float
    again_ms: float
    peak_bytes: int
    nodes: int
    model_bytes: int
    upload_ms: float
    copy_ms: float


@dataclass(frozen=True, slots=True)
class Result(result.Result):
    """The one object that the benchmark prints."""

    rows: tuple[Row, ...]


def run(progress: Progress, only: str = "") -> Result:
    """Start a private daemon, load, stop. ``only`` is part of the models' names.

    Raises NotFound where none is called so.
    """
    rows = []
    names = chosen("model", (*_VGG16, *(f"{_CHAIN}{n}" for n in CHAINS)), only, str)
    with PrivateHost(threads=1, progress=progress) as host:
        for name, data in _models(host.folder, names):
            progress(f"load {name}", -1.0)
            rows.append(_loaded(host, name, data))
    return Result(*result.head("compile"), tuple(rows))


def _models(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        if name in _VGG16:
            data = compile_models.vgg16()
            yield name, _compiled(folder, data) if name.endswith(".vxp") else data
        else:
            yield name, compile_models.chain(int(name.removeprefix(_CHAIN)))


def _compiled(folder: Path, data: bytes) -> bytes:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return toolchain.compile_model(path, Request(PROFILE), file=True, explain=False).file


def _loaded(host: PrivateHost, name: str, data: bytes) -> Row:
    runs = [_on_fresh_worker(host, data) for _ in range(RUNS)]
    median = [statistics.median(values) for values in zip(*(run.ms for run in runs), strict=True)]
    return Row(
        name,
        median[1],
        median[2],
        median[3],
        max(run.peak_bytes for run in runs),
        runs[0].nodes,
        len(data),
        median[0],
        _copy_ms(data),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """``ms``: upload, load, of its CPU, and a second load."""

    nodes: int
    peak_bytes: int
    ms: tuple[float, float, float, float]


def _on_fresh_worker(host: PrivateHost, data: bytes) -> _Run:
    import vaccel

    vf = host.admin.create_vf(PROFILE)
    vf = host.admin.attach_vf(vf.id, local=True)
    worker = host.admin.vf(vf.id).worker_pid
    before = resident(worker, "VmRSS")
    with vaccel.open(address=vf.socket) as device:
        program, upload, load, computed = _load(device, data, worker)
        peak = resident(worker, "VmHWM") - before
        _, _, again, _ = _load(device, data, worker)
    host.admin.destroy_vf(vf.id, force=True)
    return _Run(program.nodes, peak, (upload, load, computed, again))


def _load(
    device: vaccel.Device, data: bytes, worker: int
) -> tuple[Program, float, float, float]:
    """Load a program and unload it: (what it is, ms to bring it there, to load it, of its CPU)."""
    session = device._session
    begun = time.perf_counter()
    buffer = device.buffer(len(data))
    loop.run(session.write(BufferRange(buffer.id), memoryview(data)))  # as ``Device.load`` does
    before = _cpu_ms(worker)
    there = time.perf_counter()
    source = OnnxSource(buffer.id, 0, len(data), take=True)
    program = loop.run(session.compute.load_program(session.context, source))
    ended = time.perf_counter()
    computed = _cpu_ms(worker) - before
    buffer.free()
    loop.run(session.compute.unload_program(session.context, program.id))
    return program, 1e3 * (there - begun), 1e3 * (ended - there), computed


def resident(pid: int, field: str) -> int:
    """VmRSS or VmHWM of a process, in bytes: proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def _cpu_ms(pid: int) -> float:
    """User and system time of a process so far: fields 14 and 15 of proc(5)'s stat."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _copy_ms(data: bytes) -> float:
    """One copy into memory that was not touched before: the median of some."""
    source = np.frombuffer(data, np.uint8)
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        source.copy()
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)
