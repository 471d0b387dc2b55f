from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

from host_daemon.core.hypervisor import Disk, MachineSpec
from host_daemon.hypervisors.qmp.command_line import Descriptors, arguments


def spec(**changes: Any) -> MachineSpec:
    fields: dict[str, Any] = {
        "id": "vm-1",
        "name": "one",
        "folder": Path("/run/vms/one"),
        "kernel": Path("/image/kernel"),
        "initrd": Path("/image/initrd"),
        "command_line": "console=ttyS0 quiet",
        "disks": (),
        "memory_bytes": 512 << 20,
        "cpus": 2,
        "accelerator": "tcg",
        "guest_endpoint": None,
    }
    return MachineSpec(**(fields | changes))


def line(formats: dict[str, str] | None = None, **changes: Any) -> list[str]:
    return list(arguments(spec(**changes), Descriptors(monitor=10, agent=11), formats or {}))


def values(words: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(words) if name == option]


def test_nothing_by_default_and_no_new_privileges() -> None:
    words = line()
    assert words[:3] == ["setpriv", "--no-new-privs", "qemu-system-x86_64"]
    assert {"-nodefaults", "-no-user-config", "-S"} <= set(words)
    assert values(words, "-display") == ["none"]
    assert not [word for word in words if "usb" in word and "usb=off" not in word]


def test_memory_cpus_kernel() -> None:
    words = line()
    assert (values(words, "-m"), values(words, "-smp")) == (["512M"], ["2"])
    assert values(words, "-kernel") == ["/image/kernel"]
    assert values(words, "-initrd") == ["/image/initrd"]


def test_each_doorbell_gets_a_page_of_its_own() -> None:
    (command_line,) = values(line(), "-append")
    assert command_line.split()[:2] == ["console=ttyS0", "quiet"]
    assert command_line.split()[2] == "pci=resource_alignment=12@pci:1af4:1110"


def test_room_for_large_windows() -> None:
    assert "i440FX-pcihost.pci-hole64-size=64G" in values(line(), "-global")


def test_accelerators() -> None:
    kvm = line(accelerator="kvm")
    assert (values(kvm, "-accel"), values(kvm, "-cpu")) == (["kvm"], ["host"])
    assert values(line(), "-accel")[0].startswith("tcg,")
    assert "la57=off" in values(line(), "-cpu")[0]


def test_without_an_endpoint_there_is_no_network_and_no_new_process() -> None:
    words = line()
    assert values(words, "-netdev") == []
    assert not [word for word in words if "virtio-net" in word]
    assert "spawn=deny" in values(words, "-sandbox")[0]
    assert "elevateprivileges=deny" in values(words, "-sandbox")[0]


def test_the_network_is_restricted_to_the_endpoint() -> None:
    words = line(guest_endpoint=Path("/run/guest.sock"))
    (network,) = map(json.loads, values(words, "-netdev"))
    assert network["restrict"] is True
    assert network["ipv6"] is False
    assert network["guestfwd"] == [
        {
            "str": "tcp:10.0.2.100:7443-cmd:"
            "socat -lf /dev/null -t 30 STDIO UNIX-CONNECT:/run/guest.sock"
        }
    ]
    assert not any("hostfwd" in word for word in words)


def test_a_strange_endpoint_stays_one_address() -> None:
    words = line(guest_endpoint=Path("/run/a b,c:d'e/s"))
    (network,) = map(json.loads, values(words, "-netdev"))
    command = network["guestfwd"][0]["str"].partition("-cmd:")[2]
    assert shlex.split(command)[-1] == "UNIX-CONNECT:/run/a\\ b\\,c\\:d\\'e/s"


def test_a_read_only_disk_is_opened_so() -> None:
    words = line({"layer": "raw"}, disks=(Disk(Path("/image/a,b.img"), "layer"),))
    (block,) = map(json.loads, values(words, "-blockdev"))
    assert block["read-only"] is True
    assert block["driver"] == "raw"
    assert block["file"] == {"driver": "file", "filename": "/image/a,b.img", "read-only": True}
    device = json.loads(next(w for w in values(words, "-device") if "virtio-blk" in w))
    assert (device["drive"], device["serial"]) == (block["node-name"], "layer")


def test_a_writable_disk_is_its_overlay() -> None:
    words = line(disks=(Disk(Path("/image/root.img"), "root", writable=True),))
    (block,) = map(json.loads, values(words, "-blockdev"))
    assert block["driver"] == "qcow2"
    assert block["file"]["filename"] == "/run/vms/one/root.qcow2"
    assert "/image/root.img" not in " ".join(words)


def test_commas_in_names_stay_in_names() -> None:
    words = line(name="a,b", folder=Path("/run/x,y"))
    assert values(words, "-name") == ["guest=a,,b"]
    assert any("path=/run/x,,y/console.log," in word for word in values(words, "-chardev"))


def test_only_inherited_sockets() -> None:
    chardevs = values(line(), "-chardev")
    assert "socket,id=monitor,fd=10,server=on,wait=off" in chardevs
    assert "socket,id=agent,fd=11,server=on,wait=off" in chardevs
