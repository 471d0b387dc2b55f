"""Joules of work: so much per MAC, per byte and level, per lane operation; and watts that never
stop.

    array      = MACs * (energy of a MAC in its arithmetic + registers)
    sram, dram = bytes * energy per byte
    vector     = lane operations * energy of one
    static     = device time * watts

Each figure's source is in the card's file. Dynamic energy follows Horowitz, ISSCC 2014, and
Jouppi et al., ISCA 2021.
"""

from __future__ import annotations

from host_daemon.core.device import Card
from host_daemon.devices.header import Header
from host_daemon.devices.npu.parameters import Arithmetic, Energy, NpuParameters


def dynamic(
    energy: Energy,
    arithmetic: Arithmetic | None,
    *,
    macs: int,
    operations: int,
    sram_bytes: int,
    dram_bytes: int,
) -> dict[str, float]:
    """Joules by component of one operation, parts without work left out."""
    joules = {
        "array": macs * (arithmetic.joules + energy.register) if arithmetic else 0.0,
        "vector": operations * energy.vector,
        "sram": sram_bytes * energy.sram,
        "dram": dram_bytes * energy.dram,
    }
    return {component: value for component, value in joules.items() if value}


def busy_watts(parameters: NpuParameters, cores: int, card_cores: int) -> float:
    """Static power of a VF that runs: its cores, and their share of what all cores share."""
    power = parameters.power
    return cores * power.core_active + power.shared * cores / card_cores


def peak_operations(parameters: NpuParameters, name: str, cores: int, clock_hz: float) -> float:
    """Operations per second of an arithmetic, two a MAC, all processing elements busy."""
    elements = parameters.rows * parameters.columns * parameters.arrays_per_core * cores
    return 2 * elements * parameters.arithmetic[name].rate * clock_hz


def peak_watts(parameters: NpuParameters, card: Card | Header, name: str) -> float:
    """Power of a card whose arrays and whose DRAM are both fully busy."""
    macs = peak_operations(parameters, name, card.cores, card.clock_hz) / 2
    arrays = macs * (parameters.arithmetic[name].joules + parameters.energy.register)
    dram = card.bandwidth_bytes_per_second * parameters.energy.dram
    return busy_watts(parameters, card.cores, card.cores) + arrays + dram


def idle_watts(parameters: NpuParameters, cores: int, card_cores: int) -> float:
    """Static power of a VF that has nothing to do."""
    power = parameters.power
    return cores * power.core_idle + power.shared * cores / card_cores
