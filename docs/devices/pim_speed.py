"""CPU time of HBM-PIM's model in a new process, with results, against PIMSimulator's of the same
rows: ``python docs/devices/pim_speed.py``. Use one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from host_daemon.devices.pim.hbm import fp16
from host_daemon.devices.pim.hbm.fp16 import Half
from host_daemon.devices.pim.hbm.oracles import ORACLES, pimsimulator
from host_daemon.devices.validate import DEFAULT, Row, read

_RESULTS: Final[dict[str, Callable[..., Half]]] = {
    "GEMV": fp16.gemv,
    "ADD": fp16.add,
    "MUL": fp16.multiply,
    "RELU": fp16.relu,
}


def operands(row: Row, draw: np.random.Generator) -> tuple[Half, ...]:
    """Normally distributed halves of a row's sizes."""
    outputs, inputs = int(row["out_dim"]), int(row["in_dim"])
    shapes: list[tuple[int, ...]] = [(outputs,)] * (1 if row["kernel"] == "RELU" else 2)
    if row["kernel"] == "GEMV":
        shapes = [(outputs, inputs), (1, inputs)]
    return tuple(draw.standard_normal(shape).astype(np.float16) for shape in shapes)


def spent(rows: Sequence[Row], given: Sequence[tuple[Half, ...]]) -> dict[str, float]:
    """CPU seconds of all rows of each kernel, timing and results."""
    found: dict[str, float] = {}
    for row, data in zip(rows, given, strict=True):
        start = time.process_time()
        pimsimulator(row)
        _RESULTS[row["kernel"]](*data)
        name = row["kernel"]
        found[name] = found.get(name, 0.0) + time.process_time() - start
    return found


def main() -> None:
    """Print the ratios of the first pass and of a later one."""
    oracle = ORACLES[0]
    rows = read(DEFAULT / oracle.file)
    draw = np.random.default_rng(0)
    given = [operands(row, draw) for row in rows]
    theirs = {
        name: sum(float(row[oracle.seconds]) for row in rows if row["kernel"] == name)
        for name in _RESULTS
    }
    for label in ("first", "second"):
        ours = spent(rows, given)
        ratios = ", ".join(f"{name} {theirs[name] / ours[name]:.0f}" for name in ours)
        whole = sum(theirs.values()) / sum(ours.values())
        print(f"{label} pass: {whole:.0f} times less CPU time; {ratios}")


if __name__ == "__main__":
    main()
