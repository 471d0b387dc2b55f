from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from guest_agent.pci import Function, PciBus
from guest_agent.uevents import is_pci
from guest_agent.watcher import Change, changes, compare
from tests.unit.guest_agent.fake_sysfs import FakeSysfs, header
from vaccel.errors import HostFault, InvalidArgument, Unavailable


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    return FakeSysfs(tmp_path)


def test_finds_windows_and_nothing_else(sysfs: FakeSysfs) -> None:
    sysfs.plug("0000:00:05.0")
    sysfs.plug("0000:00:06.0", ids=("0x1af4", "0x1000"))
    sysfs.plug("0000:00:07.0", ids=("0x8086", "0x1110"))
    (sysfs.devices / "0000:00:08.0").mkdir()
    assert [f.address for f in PciBus(sysfs.root).scan()] == ["0000:00:05.0"]


def test_another_device_at_an_address_is_looked_at_anew(sysfs: FakeSysfs) -> None:
    bus = PciBus(sysfs.root)
    sysfs.plug("0000:00:05.0", ids=("0x8086", "0x1110"))
    assert not bus.scan()
    sysfs.unplug("0000:00:05.0")
    assert not bus.scan()
    sysfs.plug("0000:00:05.0")
    (found,) = bus.scan()
    assert bus.scan() == {found}


def test_a_guest_without_a_bus_has_no_functions(tmp_path: Path) -> None:
    assert PciBus(tmp_path / "nothing").scan() == frozenset()


def test_enables_the_function_once_and_reads_its_header(sysfs: FakeSysfs) -> None:
    folder = sysfs.plug("0000:00:05.0")
    bus = PciBus(sysfs.root)
    (function,) = bus.scan()
    assert bus.read_header(function) == header()
    assert (folder / "enable").read_text() == "1"
    (folder / "enable").write_text("2\n")
    bus.read_header(function)
    assert (folder / "enable").read_text() == "2\n"


def test_names_an_unassigned_bar(sysfs: FakeSysfs) -> None:
    folder = sysfs.plug("0000:00:05.0")
    bus = PciBus(sysfs.root)
    (function,) = bus.scan()
    (folder / "resource2").write_bytes(b"")
    with pytest.raises(HostFault, match=r"0000:00:05.0/resource2 has length 0"):
        bus.read_header(function)


def test_names_a_function_that_has_gone_or_was_replaced(sysfs: FakeSysfs) -> None:
    sysfs.plug("0000:00:05.0")
    bus = PciBus(sysfs.root)
    (function,) = bus.scan()
    stranger = Function(function.address, function.incarnation + 1)
    with pytest.raises(Unavailable, match="replaced"):
        bus.read_header(stranger)
    sysfs.unplug("0000:00:05.0")
    with pytest.raises(Unavailable, match=r"0000:00:05.0 has gone"):
        bus.read_header(function)


def test_what_is_no_header_is_refused(sysfs: FakeSysfs) -> None:
    sysfs.plug("0000:00:05.0", bytes(64) + b"x")
    bus = PciBus(sysfs.root)
    (function,) = bus.scan()
    with pytest.raises(InvalidArgument, match="magic"):
        bus.read_header(function)


def test_departures_come_before_arrivals() -> None:
    old, new = Function("0000:00:05.0", 1), Function("0000:00:05.0", 2)
    assert compare(frozenset({old}), frozenset({new})) == (Change(old, False), Change(new, True))
    assert compare(frozenset({old}), frozenset({old})) == ()


async def test_watches_what_comes_and_goes(sysfs: FakeSysfs) -> None:
    sysfs.plug("0000:00:05.0")
    steps = [
        lambda: sysfs.plug("0000:00:06.0"),
        lambda: sysfs.unplug("0000:00:05.0"),
        lambda: None,
        lambda: sysfs.unplug("0000:00:06.0"),
    ]

    async def wait() -> None:
        if steps:
            steps.pop(0)()

    seen = []
    stream = changes(PciBus(sysfs.root), wait)
    for _ in range(4):
        change = await anext(stream)
        seen.append((change.function.address[8:10], change.present))
    await stream.aclose()
    assert seen == [("05", True), ("06", True), ("05", False), ("06", False)]


def test_only_pci_announcements_wake() -> None:
    start = b"add@/devices/pci0000:00/0000:00:05.0\0ACTION=add\0"
    assert is_pci(start + b"SUBSYSTEM=pci\0PCI_ID=1AF4:1110\0")
    assert not is_pci(start + b"SUBSYSTEM=pci_express\0")
    assert not is_pci(b"\xff" * 4096)


def test_the_window_and_the_doorbell_are_opened(sysfs: FakeSysfs) -> None:
    folder = sysfs.plug("0000:00:05.0")
    (folder / "resource0").write_bytes(bytes(256))
    bus = PciBus(sysfs.root)
    (function,) = bus.scan()
    window, doorbell, size = bus.open_window(function)
    assert os.fstat(window).st_size == size
    assert os.fstat(doorbell).st_size == 256
    os.close(window)
    os.close(doorbell)
    (folder / "resource0").unlink()
    with pytest.raises(Unavailable, match="has gone"):
        bus.open_window(function)
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # others' come and go meanwhile
            assert not os.readlink(f"/proc/self/fd/{fd}").startswith(str(folder))
