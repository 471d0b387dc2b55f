"""A VF of an NVM card in this process, on cells that outlive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from host_daemon.core.device import Card, Operation
from host_daemon.core.lasting import Life
from host_daemon.devices.nvm.device import NvmDevice
from host_daemon.devices.nvm.kind import NvmKind
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.registry import find_card, load_card
from vaccel.model import Array, DType

F32 = DType.FLOAT32
SEED = b"s" * 32


@dataclass
class Rig:
    """A card's first profile, and the cells of a VF of it."""

    card: Card
    cells: memoryview

    def device(self, now: float = 0.0, seed: bytes = SEED) -> NvmDevice:
        made = NvmKind().model(self.card, self.card.profiles[0])
        assert isinstance(made, NvmDevice)
        made.begin(Life(seed, self.cells, now))
        return made

    @property
    def own(self) -> NvmParameters:
        parameters: NvmParameters = self.card.parameters
        return parameters


def small(**tile: Any) -> Card:
    """Kcloud-3 with another tile, and four of them."""
    card = load_card(find_card("kcloud-3"))
    own: NvmParameters = card.parameters
    rewrites = tile.pop("rewrites", 100)
    profile = replace(card.profiles[0], cores=4)
    parameters = replace(
        own, tile=replace(own.tile, **tile), rewrites={profile.name: rewrites}
    )
    from host_daemon.devices.nvm.store import record_bytes

    return replace(
        card,
        profiles=(profile,),
        parameters=parameters,
        cell_bytes=record_bytes(parameters.tile),
    )


@pytest.fixture
def rig() -> Callable[..., Rig]:
    def make(**tile: Any) -> Rig:
        card = small(**tile)
        return Rig(card, memoryview(bytearray(card.cell_bytes * 4)))

    return make


def matmul(weights: Array, name: str = "m/product", **attributes: Any) -> Operation:
    return Operation(
        "MatMul",
        ((F32, (-1, weights.shape[0])), (F32, weights.shape)),
        (None,),
        attributes,
        frozenset({1}),
        resident=name,
    )


def normal(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def error(given: Array, exact: Array) -> float:
    return float(np.sqrt(np.mean((given - exact) ** 2) / np.mean(exact**2)))


def level(device: NvmDevice, name: str) -> str:
    return next(each.level for each in device.condition() if each.name == name)


def value(device: NvmDevice, name: str) -> float:
    return next(each.value for each in device.condition() if each.name == name)
