"""What the file of an npu-pim card says: an NPU's tables, and under ``[pim]`` those of its DRAM.

The processor beside the banks is the NPU itself: what a PIM card's ``[host]`` and ``[launch]`` say
is taken from the NPU's vector cores, its DRAM interface and its issue of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from host_daemon.core.device import Card
from host_daemon.devices.fields import Section
from host_daemon.devices.header import Header
from host_daemon.devices.npu.parameters import NpuParameters
from host_daemon.devices.npu.parameters import read_parameters as read_npu
from host_daemon.devices.pim.family import FAMILIES, Family, find_family
from host_daemon.devices.pim.parameters import Host, PimParameters, read_power
from vaccel import units
from vaccel.errors import InvalidArgument
from vaccel.model import Profile


@dataclass(frozen=True, slots=True)
class NpuPimParameters:
    """``banks`` is the DRAM as a PIM card, with ``pim`` as its parameters: a core of it is a
    channel, its clock is DRAM's.

    ``drain_seconds`` is from the NPU's last write to closed rows, ``handover_seconds`` from one
    master of the channels to the other; both are paid for each operation in the banks.
    """

    npu: NpuParameters
    pim: PimParameters
    banks: Card
    drain_seconds: float
    handover_seconds: float


def read_parameters(root: Section, header: Header) -> NpuPimParameters:
    """Check all tables. Raises InvalidArgument naming field, value and file."""
    section = root.section("pim")
    family = find_family(section.choice("family", tuple(FAMILIES)))
    channels = section.count("channels", most=1024)
    clock_hz = section.quantity("clock", units.FREQUENCY)
    if channels % header.cores:
        raise InvalidArgument(
            f"{section.name('channels')} = {channels} cannot be shared out to {header.cores} cores",
            hint="a VF owns the same number of channels for each of its cores",
        )
    dram = replace(header, kind="pim", cores=channels, clock_hz=clock_hz, profiles=())
    own = family.read(section, dram)
    power = read_power(section)
    conflict = section.section("conflict")
    drain = conflict.quantity("drain", units.TIME, zero=True)
    handover = conflict.quantity("handover", units.TIME, zero=True)
    conflict.finish()
    section.finish()
    npu = read_npu(root)
    if npu.channels != channels:
        raise InvalidArgument(
            f"{section.name('channels')} = {channels}, but dram.channels = {npu.channels}",
            hint="the banks are those of the NPU's own DRAM",
        )
    pim = PimParameters(
        family=family.name,
        own=own,
        host=_processor(npu, header, channels),
        power=power,
        launch_seconds=0.0,
        launch_joules=0.0,
        node_seconds=npu.node_cycles / header.clock_hz,
        provenance=tuple(root.provenance),
    )
    return NpuPimParameters(npu, pim, _banks(dram, family, own, pim), drain, handover)


def _processor(npu: NpuParameters, header: Header, channels: int) -> Host:
    """The NPU's vector cores as the processor beside the banks, per channel."""
    rate = npu.lanes * header.cores * header.clock_hz / channels
    return Host(rate, npu.energy.vector, npu.energy.dram, npu.efficiency)


def _banks(dram: Header, family: Family, own: Any, pim: PimParameters) -> Card:
    return Card(
        name=dram.name,
        kind=dram.kind,
        vendor=dram.vendor,
        cores=dram.cores,
        clock_hz=dram.clock_hz,
        memory_bytes=dram.memory_bytes,
        bandwidth_bytes_per_second=dram.bandwidth_bytes_per_second,
        profiles=(),
        arithmetic=family.arithmetic(own),
        source=dram.summary,
        parameters=pim,
    )


def channels_of(card: Card, profile: Profile) -> int:
    """How many channels a VF of this profile owns."""
    own: NpuPimParameters = card.parameters
    return own.banks.cores * profile.cores // card.cores
