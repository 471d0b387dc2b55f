"""Cell technologies by name, with the source of each parameter."""

from __future__ import annotations

from typing import Final

from host_daemon.devices.nvm.analog.cells import Preset, WriteVerify
from host_daemon.devices.nvm.analog.laws import OneOverF, Polynomial, PowerLaw
from vaccel.errors import NotFound

PCM: Final = Preset(
    name="pcm",
    minimum=0.0,
    maximum=25.0,
    programming=Polynomial((0.26348, 1.9650 / 25, -1.1731 / 625)),
    drift=PowerLaw(
        maximum=25.0,
        first_seconds=20.0,
        mean=(-0.0155, 0.0244, 0.049, 0.1),
        deviation=(-0.0125, -0.0059, 0.008, 0.045),
    ),
    fluctuation=OneOverF(25.0, 0.0088, 0.65, 0.2, 250e-9, 20.0),
    write=WriteVerify(0.25, 0.6, 20, 100e-9, 1e-6, 20e-12, 1e-12),
    endurance_writes=1e8,
)
PRESETS: Final = {each.name: each for each in (PCM,)}


def preset(name: str) -> Preset:
    """A technology by name. Raises NotFound naming those that there are."""
    found = PRESETS.get(name)
    if found is None:
        raise NotFound(f"cell technology {name!r}", hint=f"there are: {', '.join(PRESETS)}")
    return found
