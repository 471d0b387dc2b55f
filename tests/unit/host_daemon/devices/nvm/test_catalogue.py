"""Cards say what is published of them, and the models come near it."""

from __future__ import annotations

import pytest

from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.registry import cards, find_card, load_card

NVM = [name for name in cards() if load_card(find_card(name)).kind == "nvm"]


def test_there_are_three() -> None:
    assert NVM == ["hermes", "kcloud-3", "mythic-m1076"]


@pytest.mark.parametrize("name", NVM)
def test_published_figures_come_out(name: str) -> None:
    for figure in load_card(find_card(name)).figures:
        if figure.published:
            assert figure.value == pytest.approx(figure.published, rel=0.05), figure.name


@pytest.mark.parametrize("name", NVM)
def test_endurance_is_the_cells(name: str) -> None:
    own = load_card(find_card(name)).parameters
    assert isinstance(own, NvmParameters)
    assert own.tile.endurance == own.tile.preset.endurance_writes
    # What every VF of a card may write leaves its cells alive.
    assert max(own.rewrites.values()) < own.tile.endurance
