"""Cell technologies by name, with the source of each parameter."""

from __future__ import annotations

from typing import Final

from host_daemon.devices.nvm.analog.cells import Preset, WriteVerify
from host_daemon.devices.nvm.analog.laws import OneOverF, Polynomial, PowerLaw, Saturating, White
from host_daemon.devices.nvm.analog.sonos import ChargeLoss
from vaccel.errors import NotFound

_NANDAKUMAR: Final = "S. R. Nandakumar et al., ICECS 2019, as aihwkit 1.1.0's PCMLikeNoiseModel"
_AGRAWAL: Final = "V. Agrawal et al., IEDM 2022, as CrossSim 3's SONOS model"
_MILO: Final = "V. Milo et al., IRPS 2021, figure 4 (IGVVA-100), as CrossSim 3's RRAMMilo model"
_ASSUMED: Final = "assumed, an order of magnitude"

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
    sources={
        "minimum": "an amorphous cell, taken for zero as in aihwkit",
        "maximum": _NANDAKUMAR,
        "programming": _NANDAKUMAR,
        "drift": _NANDAKUMAR,
        "fluctuation": _NANDAKUMAR,
        "write": "iterative program-and-verify of about ten pulses: V. Joshi et al., Nature"
        f" Communications 11 (2020); times and energies of pulses {_ASSUMED}",
        "endurance_writes": f"{_ASSUMED} of published PCM (1e8 to 1e9)",
    },
)
RRAM: Final = Preset(
    name="rram",
    minimum=50.0,
    maximum=225.0,
    programming=Polynomial((4.782321, -0.009107)),
    drift=None,
    fluctuation=None,
    write=WriteVerify(0.2, 0.6, 30, 1e-6, 1e-6, 50e-12, 5e-12),
    endurance_writes=1e5,
    sources={
        "minimum": _MILO,
        "maximum": _MILO,
        "programming": _MILO,
        "drift": "not modelled: the source gives none",
        "fluctuation": "not modelled: the source gives none",
        "write": _ASSUMED,
        "endurance_writes": f"{_ASSUMED} for verified levels",
    },
)
SONOS: Final = Preset(
    name="sonos",
    minimum=0.0,
    maximum=16.0,
    programming=Saturating(0.1988665, 1.763115),
    drift=ChargeLoss(),
    fluctuation=White(Saturating(0.1258037, 2.1536557)),
    write=WriteVerify(0.2, 0.6, 30, 1e-4, 1e-6, 1e-12, 1e-12),
    endurance_writes=1e5,
    sources={
        "minimum": _AGRAWAL,
        "maximum": f"{_AGRAWAL}: 1600 nA, at 0.1 V",
        "programming": _AGRAWAL,
        "drift": f"{_AGRAWAL}; after five days extrapolated",
        "fluctuation": _AGRAWAL,
        "write": _ASSUMED,
        "endurance_writes": f"{_ASSUMED} of embedded flash",
    },
)
FLASH: Final = Preset(
    name="flash",
    minimum=0.0,
    maximum=16.0,
    programming=Polynomial((16.0 / 255,)),
    drift=None,
    fluctuation=White(Saturating(0.1258037, 2.1536557)),
    write=WriteVerify(0.2, 0.6, 30, 1e-5, 1e-6, 10e-12, 1e-12),
    endurance_writes=1e5,
    sources={
        "minimum": "a cell that is off",
        "maximum": f"that of SONOS: {_AGRAWAL}",
        "programming": "one step of the 8 bits that Mythic states for its weights",
        "drift": "not modelled: embedded flash keeps its charge for ten years (data sheets)",
        "fluctuation": f"that of SONOS: {_AGRAWAL}",
        "write": _ASSUMED,
        "endurance_writes": "100 000 cycles, usual in data sheets of NOR flash",
    },
)
PRESETS: Final = {each.name: each for each in (PCM, RRAM, SONOS, FLASH)}


def preset(name: str) -> Preset:
    """A technology by name. Raises NotFound naming those that there are."""
    found = PRESETS.get(name)
    if found is None:
        raise NotFound(f"cell technology {name!r}", hint=f"there are: {', '.join(PRESETS)}")
    return found
