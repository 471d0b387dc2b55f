from host_daemon.devices.registry import find_card
from tests.conformance.device import DeviceConformance


class TestKcloud3(DeviceConformance):
    card_file = find_card("kcloud-3")
    places = ("tiles", "digital")


class TestHermes(DeviceConformance):
    card_file = find_card("hermes")
    places = ("tiles", "digital")
