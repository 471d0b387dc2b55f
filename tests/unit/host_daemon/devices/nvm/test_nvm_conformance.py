from host_daemon.devices.registry import find_card
from tests.conformance.device import DeviceConformance


class TestKcloud3(DeviceConformance):
    card_file = find_card("kcloud-3")
    places = ("tiles", "digital")


class TestHermes(DeviceConformance):
    card_file = find_card("hermes")
    places = ("tiles", "digital")


class TestMythic(DeviceConformance):
    card_file = find_card("mythic-m1076")
    places = ("tiles", "digital")
