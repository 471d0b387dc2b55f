from __future__ import annotations

from host_daemon.devices.registry import find_card
from tests.conformance.device import DeviceConformance


class TestAim(DeviceConformance):
    card_file = find_card("aim")
