from __future__ import annotations

import pytest

from host_daemon.compiler.program import Target
from host_daemon.devices.registry import find_card, load_card, model


@pytest.fixture(scope="session")
def npu(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A VF of an NPU that has every arithmetic of the products here."""
    card = load_card(find_card("kcloud-1"))
    return Target(model(card, card.profiles[0]), 1, tmp_path_factory.mktemp("scratch"))
