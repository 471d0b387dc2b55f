"""The public simulators that the NPU's timing is validated against.

SCALE-Sim 3.0.0 in stall-free mode needs no parameter beyond the array. For ONNXim a1e86296 what
follows is the simulated hardware, and four constants of its memory that its description does not
give. Those four were calibrated on the rows in ``tests/oracles``, one value per kind of memory and
none per row, so that the errors on these rows are not those of a blind prediction:

- HBM2 sustains 71 % of its peak, DDR4 41 %;
- a core's port to the network takes 16 requests a cycle, 512 bytes;
- a first request takes 40 cycles to HBM2 and 80 to DDR4.

They are plausible: for HBM2 the port of each channel serves one request a cycle, which caps 614 at
512 B/cycle (83 %), and refresh and requests that wait for one another take the rest; DDR4-1600
uses half of a 64-byte burst for 32 bytes, and tCCD_L = 5 for tCCD_S = 4 cycles makes 40 %.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from host_daemon.devices.gemm import Gemm
from host_daemon.devices.npu.overlapped import overlapped
from host_daemon.devices.npu.shape import Machine
from host_daemon.devices.npu.systolic import Shape, convolved, scalesim_total_cycles
from host_daemon.devices.oracle import Oracle, integer
from vaccel.bounds import KIB, MIB
from vaccel.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class _Family:
    """ONNXim's configurations of one name: bits of an element, SRAM and accumulators, and DRAM."""

    bits: int
    sram_bytes: int
    accumulator_bytes: int
    peak_bytes_per_cycle: float
    sustained: float
    latency_cycles: int


_FAMILIES: Final = {
    "tpuv4": _Family(16, 32 * MIB, 4 * MIB, 614.4, 0.71, 40),
    "edge": _Family(16, 256 * KIB, 64 * KIB, 614.4, 0.71, 40),
    "shipped": _Family(8, 64 * KIB, 16 * KIB, 12.8, 0.41, 80),
}
_PORT_BYTES_PER_CYCLE: Final = 512.0
_REQUEST_BYTES: Final = 32
_CONFIG: Final = re.compile(r"([a-z0-9]+)_([0-9]{1,4})x([0-9]{1,4})_c([0-9]{1,3})_\w+")
_ARRAY: Final = re.compile(r"([0-9]{1,4})x([0-9]{1,4})")


@lru_cache(maxsize=64)
def _onnxim_machine(config: str) -> Machine:
    match = _CONFIG.fullmatch(config)
    family = _FAMILIES.get(match[1]) if match else None
    if match is None or family is None:
        raise InvalidArgument(
            f"config {config!r} is unknown", hint=f"families: {', '.join(_FAMILIES)}"
        )
    return Machine(
        rows=int(match[2]),
        columns=int(match[3]),
        units=int(match[4]),
        dataflow="ws",
        slowdown=1.0,
        left_bits=family.bits,
        right_bits=family.bits,
        sum_bits=32,
        sram_bytes=family.sram_bytes,
        accumulator_bytes=family.accumulator_bytes,
        port_bytes_per_cycle=_PORT_BYTES_PER_CYCLE,
        dram_bytes_per_cycle=family.peak_bytes_per_cycle * family.sustained,
        request_bytes=_REQUEST_BYTES,
        latency_cycles=family.latency_cycles,
        cuts_squares=False,
    )


def onnxim(row: Mapping[str, str]) -> int:
    """ONNXim's ``layer_finish_cycle`` of an M x K by K x N product."""
    machine = _onnxim_machine(row.get("config", ""))
    m, k, n = integer(row, "M"), integer(row, "K"), integer(row, "N")
    size = machine.left_bits // 8
    gemm = Gemm(m, n, k, 1, m * k * size, k * n * size, m * n * size, m * n * k)
    return overlapped(gemm, machine).total


def _onnxim_allowed(row: Mapping[str, str], expected: float) -> float:
    """A tenth of rows bound by compute, 15 % of those whose bytes take longer than their cycles."""
    match = _CONFIG.fullmatch(row.get("config", ""))
    if match is None:
        return 0.0
    m, k, n = integer(row, "M"), integer(row, "K"), integer(row, "N")
    family = _FAMILIES[match[1]]
    moved = (m * k + k * n + m * n) * family.bits // 8
    cells = int(match[2]) * int(match[3]) * int(match[4])
    by_memory = moved / family.peak_bytes_per_cycle > m * k * n / cells
    return (0.15 if by_memory else 0.1) * abs(expected)


def _shape(row: Mapping[str, str]) -> Shape:
    """(M, N, K); of a convolution by its parameters, as SCALE-Sim takes it."""
    if row.get("kind") != "conv":
        return integer(row, "M"), integer(row, "N"), integer(row, "K")
    parts = row.get("params", "").split("x")
    if len(parts) != 7:
        raise InvalidArgument(f"column params = {row.get('params')!r} is not seven sizes")
    given = {str(index): part for index, part in enumerate(parts)}
    high, wide, kernel_high, kernel_wide, channels, filters, stride = (
        integer(given, str(index)) for index in range(7)
    )
    pixels = convolved(high, kernel_high, stride) * convolved(wide, kernel_wide, stride)
    return pixels, filters, kernel_high * kernel_wide * channels


def scalesim(row: Mapping[str, str]) -> int:
    """SCALE-Sim's ``total_cycles`` of a layer."""
    match = _ARRAY.fullmatch(row.get("array", ""))
    if match is None:
        raise InvalidArgument(f"column array = {row.get('array')!r} is not ROWSxCOLUMNS")
    array = int(match[1]), int(match[2])
    return scalesim_total_cycles(row.get("dataflow", ""), _shape(row), array)


ORACLES: Final = (
    Oracle(
        "npu/scalesim_v3_calc.csv",
        ("layer", "kind", "params", "M", "N", "K", "dataflow", "array", "sram_kB_each"),
        "total_cycles",
        "total_cycles",
        scalesim,
        "host_cpu_s",
    ),
    Oracle(
        "npu/onnxim_cycles.csv",
        ("config", "M", "K", "N"),
        "layer_finish_cycle",
        "layer_finish_cycle",
        onnxim,
        "host_cpu_s",
        allowed=_onnxim_allowed,
    ),
)
