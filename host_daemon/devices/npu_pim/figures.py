"""What an npu-pim card is said to do: the NPU's figures, and those of the banks beside them."""

from __future__ import annotations

from dataclasses import replace

from host_daemon.devices.header import Header
from host_daemon.devices.npu.figures import figures as npu_figures
from host_daemon.devices.npu_pim.parameters import NpuPimParameters
from host_daemon.devices.pim.family import find_family
from vaccel.inventory import Figure

# What the banks say of the whole card is the NPU's to say.
_OWN = ("channels", "banks", "blocks", "units", "internal", "peak", "energy")


def figures(header: Header, parameters: NpuPimParameters) -> tuple[Figure, ...]:
    """All figures of a card, units as ``Figure`` says."""
    pim, dram = parameters.pim, parameters.banks
    standby = {
        "power idle": dram.cores * pim.power.channel_idle,
        "power peak": dram.cores * pim.power.channel_active,
    }
    found = [
        replace(each, value=each.value + standby.get(each.name, 0.0))
        for each in npu_figures(header, parameters.npu)
    ]
    inner = replace(header, kind=dram.kind, cores=dram.cores, clock_hz=dram.clock_hz)
    # Fields of the DRAM as its family knows them, without the table that they stand in here; where
    # it has none of its own, the NPU's of the same name.
    known = {each.field: each for each in pim.provenance}
    own = {key.removeprefix("pim."): each for key, each in known.items() if key.startswith("pim.")}
    host = ("host.rate", "host.energy", "host.bus", "host.efficiency")
    processor = dict.fromkeys(host, known["vector.lanes"])
    fields = processor | known | own
    provenance = tuple(replace(each, field=key) for key, each in fields.items())
    family = find_family(pim.family)
    for figure in family.figures(inner, replace(pim, provenance=provenance)):
        if not figure.name.startswith("power") and any(word in figure.name for word in _OWN):
            # What is published of such DRAM is not published of a generic card.
            published = figure.published if parameters.npu.published_peaks else 0.0
            found.append(replace(figure, name=f"PIM {figure.name}", published=published))
    return tuple(found)
