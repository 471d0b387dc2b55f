"""What the file of an NPU card says beyond the common part, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from host_daemon.devices.fields import Provenance, Section
from vaccel import units
from vaccel.errors import InvalidArgument
from vaccel.model import DType

# Bits of an element of each arithmetic as it lies in memory: (activations, weights).
FORMATS: Final[Mapping[str, tuple[int, int]]] = {
    "fp32": (32, 32),
    "bf16": (16, 16),
    "fp16": (16, 16),
    "fp8_e4m3": (8, 8),
    "fp8_e5m2": (8, 8),
    "int8": (8, 8),
    "int4": (8, 4),
}
# What the arrays compute in, where a program asks for nothing else; the vector core has the rest.
BY_DTYPE: Final[Mapping[DType, str]] = {
    DType.FLOAT32: "fp32",
    DType.FLOAT16: "fp16",
    DType.BFLOAT16: "bf16",
    DType.FLOAT8_E4M3FN: "fp8_e4m3",
    DType.FLOAT8_E5M2: "fp8_e5m2",
    DType.INT8: "int8",
    DType.UINT8: "int8",
}
DATAFLOWS: Final = ("os", "ws", "is")
TIMINGS: Final = ("overlapped", "scalesim")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What one processing element does: MACs a cycle, the accumulator's type, joules of a MAC."""

    name: str
    rate: float
    accumulator: str
    joules: float


@dataclass(frozen=True, slots=True)
class Energy:
    """Dynamic joules: per MAC (registers), per byte of SRAM and DRAM, per vector operation, per
    launch.
    """

    register: float
    sram: float
    dram: float
    vector: float
    launch: float


@dataclass(frozen=True, slots=True)
class Power:
    """Static watts: of a core that runs, of one that idles, and of all that cores share."""

    core_active: float
    core_idle: float
    shared: float


@dataclass(frozen=True, slots=True)
class NpuParameters:
    """An NPU card. Sizes are bytes; ``per cycle`` is of the card's clock; SRAM is per core."""

    rows: int
    columns: int
    arrays_per_core: int
    dataflow: str
    timing: str
    sram_bytes: int
    accumulator_bytes: int
    sram_bytes_per_cycle: float
    channels: int
    request_bytes: int
    latency_seconds: float
    efficiency: float
    port_bytes_per_cycle: float
    lanes: int
    launch_seconds: float
    node_cycles: int
    arithmetic: Mapping[str, Arithmetic]
    energy: Energy
    power: Power
    # What the vendor says, to compare with: operations per second by arithmetic, and watts.
    published_peaks: Mapping[str, float]
    published_watts: float | None
    provenance: tuple[Provenance, ...]


def read_parameters(root: Section) -> NpuParameters:
    """Check the tables of an NPU. Raises InvalidArgument naming field, value and file."""
    array, sram, dram = root.section("array"), root.section("sram"), root.section("dram")
    published = root.section("published") if root.has("published") else None
    noc, vector, launch = root.section("noc"), root.section("vector"), root.section("launch")
    parameters = NpuParameters(
        rows=array.count("rows", most=4096),
        columns=array.count("columns", most=4096),
        arrays_per_core=array.count("per_core", most=1024),
        dataflow=array.choice("dataflow", DATAFLOWS),
        timing=array.choice("timing", TIMINGS),
        sram_bytes=sram.whole("capacity", units.SIZE),
        accumulator_bytes=sram.whole("accumulators", units.SIZE),
        sram_bytes_per_cycle=sram.quantity("bandwidth", units.BYTES_PER_CYCLE),
        channels=dram.count("channels", most=1024),
        request_bytes=dram.whole("request", units.SIZE),
        latency_seconds=dram.quantity("latency", units.TIME, zero=True),
        efficiency=dram.quantity("efficiency", units.SHARE),
        port_bytes_per_cycle=noc.quantity("port", units.BYTES_PER_CYCLE),
        lanes=vector.count("lanes"),
        launch_seconds=launch.quantity("overhead", units.TIME, zero=True),
        node_cycles=launch.whole("node", units.CYCLES, zero=True),
        arithmetic=_arithmetic(root.section("arithmetic")),
        energy=_energy(root.section("energy")),
        power=_power(root.section("power")),
        published_peaks=_peaks(published) if published else {},
        published_watts=(
            published.quantity("power", units.POWER)
            if published and published.has("power")
            else None
        ),
        provenance=tuple(root.provenance),
    )
    if published:
        published.finish()
    for section in (array, sram, dram, noc, vector, launch):
        section.finish()
    _check(parameters, dram, sram)
    return parameters


def _arithmetic(section: Section) -> dict[str, Arithmetic]:
    found = {}
    for name in FORMATS:
        if section.has(name):
            each = section.section(name)
            found[name] = Arithmetic(
                name,
                each.quantity("rate", units.MACS_PER_CYCLE),
                each.choice("accumulator", ("fp32", "int32", "fp16")),
                each.quantity("energy", units.ENERGY, zero=True),
            )
            each.finish()
    section.finish()
    if not found:
        raise InvalidArgument(
            f"{section.name('*')}: no arithmetic", hint=f"one of {', '.join(FORMATS)}"
        )
    return found


def _energy(section: Section) -> Energy:
    energy = Energy(
        register=section.quantity("register", units.ENERGY, zero=True),
        sram=section.quantity("sram", units.ENERGY_PER_BYTE, zero=True),
        dram=section.quantity("dram", units.ENERGY_PER_BYTE, zero=True),
        vector=section.quantity("vector", units.ENERGY, zero=True),
        launch=section.quantity("launch", units.ENERGY, zero=True),
    )
    section.finish()
    return energy


def _power(section: Section) -> Power:
    power = Power(
        core_active=section.quantity("core_active", units.POWER, zero=True),
        core_idle=section.quantity("core_idle", units.POWER, zero=True),
        shared=section.quantity("shared", units.POWER, zero=True),
    )
    section.finish()
    return power


def _peaks(section: Section) -> dict[str, float]:
    return {
        name: section.quantity(f"peak_{name}", units.OPERATIONS)
        for name in FORMATS
        if section.has(f"peak_{name}")
    }


def _check(parameters: NpuParameters, dram: Section, sram: Section) -> None:
    if parameters.efficiency > 1:
        raise InvalidArgument(
            f"{dram.name('efficiency')} = {parameters.efficiency:.0%} is over 100 %"
        )
    bits = max(sum(FORMATS[name]) for name in parameters.arithmetic)
    edge = max(parameters.rows, parameters.columns)
    # Twice, because one tile is filled while the other is computed on.
    least = 2 * edge * edge * bits // 8
    if parameters.sram_bytes < least:
        raise InvalidArgument(
            f"{sram.name('capacity')} = {parameters.sram_bytes} B is smaller than two tiles,"
            f" {least} B, of a {parameters.rows}x{parameters.columns} array"
        )
    sums = 2 * edge * edge * 4
    if parameters.accumulator_bytes < sums:
        raise InvalidArgument(
            f"{sram.name('accumulators')} = {parameters.accumulator_bytes} B is smaller than two"
            f" tiles of sums, {sums} B, of a {parameters.rows}x{parameters.columns} array"
        )
