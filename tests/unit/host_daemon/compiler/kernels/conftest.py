from __future__ import annotations

import pytest

from host_daemon.compiler.program import Target
from host_daemon.devices.registry import find_card, load_card, model
from tests.unit.host_daemon.compiler.kernels.machines import CARDS


def _target(name: str, factory: pytest.TempPathFactory) -> Target:
    card = load_card(find_card(name))
    return Target(model(card, card.profiles[0]), 1, factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def npu(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A VF of an NPU that has every arithmetic of the products here."""
    return _target("kcloud-1", tmp_path_factory)


@pytest.fixture(scope="session", params=CARDS)
def vf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A VF of each kind of card in turn."""
    return _target(request.param, tmp_path_factory)
