"""From what to start to QEMU's arguments. Pure: nothing is looked up and nothing is done."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from host_daemon.core.hypervisor import Disk, MachineSpec
from host_daemon.hypervisors.qmp.folder import Folder
from vaccel import bounds

QEMU: Final = "qemu-system-x86_64"
AGENT_PORT: Final = "agent"
# All that TCG emulates, AVX2 included: copies and vectors run half again to twice as fast as on a
# plain x86-64-v2 model, at the same time to boot (docs/virtual-machines.md has the figures). But no
# five-level paging, which lengthens every emulated page walk, and no fast string moves: C libraries
# and kernels that see them copy by `rep movsb`, which is emulated byte by byte.
TCG_CPU: Final = "max,la57=off,erms=off,fsrm=off"
# Room for windows above the guest's memory. Without it QEMU leaves a pc guest 2 GiB.
PCI_HOLE: Final = "64G"
# Translated code, at most. QEMU's default is 1 GiB, twice a small guest's whole memory; a guest
# that boots and imports NumPy and gRPC is as fast with this.
TCG_CACHE_MIB: Final = 128
# A doorbell's BAR is 256 bytes long, and a guest maps pages: without this Linux puts several on
# one, and who rings the second VF rings the first. 12 is the order of a page's size
# (Linux, admin-guide/kernel-parameters, "pci=resource_alignment").
PAGE_PER_BAR: Final = "pci=resource_alignment=12@pci:1af4:1110"
# socat (1), "ADDRESS SPECIFICATIONS": characters that an address must escape.
_SOCAT_SPECIAL: Final = frozenset("\\:,!'\"({[ ")


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Listening sockets that QEMU inherits."""

    monitor: int
    agent: int


def arguments(
    spec: MachineSpec, descriptors: Descriptors, formats: Mapping[str, str]
) -> tuple[str, ...]:
    """QEMU's command line. ``formats`` has raw or qcow2 for each read-only disk, by serial."""
    return (
        # Neither QEMU nor a relay ever gains what it does not start with.
        *("setpriv", "--no-new-privs", QEMU),
        *_machine(spec),
        *_channels(Folder(spec.folder), descriptors),
        *(word for disk in spec.disks for word in _disk(disk, spec, formats)),
        *_network(spec),
        *("-kernel", str(spec.kernel), "-initrd", str(spec.initrd)),
        *("-append", f"{spec.command_line} {PAGE_PER_BAR}".strip()),
    )


def _machine(spec: MachineSpec) -> Iterator[str]:
    kvm = spec.accelerator == "kvm"
    yield from ("-name", f"guest={_escape(spec.name)}")
    # Nothing but what is named here: each device is a way in for a hostile guest.
    yield from ("-no-user-config", "-nodefaults", "-display", "none")
    yield from ("-machine", "pc,usb=off,vmport=off,dump-guest-core=off")
    yield from ("-accel", "kvm" if kvm else f"tcg,thread=multi,tb-size={TCG_CACHE_MIB}")
    yield from ("-cpu", "host" if kvm else TCG_CPU)
    yield from ("-smp", str(spec.cpus), "-m", f"{spec.memory_bytes // bounds.MIB}M")
    yield from ("-global", f"i440FX-pcihost.pci-hole64-size={PCI_HOLE}")
    yield from ("-global", "PIIX4_PM.disable_s3=1", "-global", "PIIX4_PM.disable_s4=1")
    # A guest that reaches the host's endpoint needs QEMU to spawn a relay for each connection, in
    # a session of its own. QEMU counts setsid among the privileges that it denies.
    spawn = "allow" if spec.guest_endpoint else "deny"
    yield "-sandbox"
    yield f"on,obsolete=deny,resourcecontrol=deny,elevateprivileges={spawn},spawn={spawn}"
    # Paused, until the daemon has limited it and holds its monitor.
    yield "-S"


def _channels(folder: Folder, descriptors: Descriptors) -> Iterator[str]:
    yield from ("-chardev", f"socket,id=monitor,fd={descriptors.monitor},server=on,wait=off")
    yield from ("-mon", "chardev=monitor,mode=control")
    yield from ("-chardev", f"file,id=console,path={_escape(str(folder.console))},append=on")
    yield from ("-serial", "chardev:console")
    yield from ("-object", "rng-builtin,id=entropy")
    yield from ("-device", _json(driver="virtio-rng-pci", rng="entropy", romfile=""))
    yield from ("-chardev", f"socket,id=agent,fd={descriptors.agent},server=on,wait=off")
    yield from ("-device", _json(driver="virtio-serial-pci", id="channels"))
    port = _json(
        driver="virtserialport", id=AGENT_PORT, chardev="agent", name="org.qemu.guest_agent.0"
    )
    yield from ("-device", port)


def _disk(disk: Disk, spec: MachineSpec, formats: Mapping[str, str]) -> Iterator[str]:
    path = Folder(spec.folder).overlay(disk.serial) if disk.writable else disk.path
    block = {
        "driver": "qcow2" if disk.writable else formats[disk.serial],
        "node-name": f"disk-{disk.serial}",
        "read-only": not disk.writable,
        "file": {"driver": "file", "filename": str(path), "read-only": not disk.writable},
    }
    yield from ("-blockdev", json.dumps(block))
    device = {
        "driver": "virtio-blk-pci",
        "id": f"drive-{disk.serial}",
        "drive": block["node-name"],
        "serial": disk.serial,
    }
    yield from ("-device", json.dumps(device))


def _network(spec: MachineSpec) -> Iterator[str]:
    if spec.guest_endpoint is None:
        return
    forward = f"tcp:{spec.guest_address}-cmd:{_relay(str(spec.guest_endpoint))}"
    network = {
        "type": "user",
        "id": "network",
        "restrict": True,
        "ipv6": False,
        "guestfwd": [{"str": forward}],
    }
    yield from ("-netdev", json.dumps(network))
    yield from ("-device", _json(driver="virtio-net-pci", netdev="network", romfile=""))


def _relay(endpoint: str) -> str:
    """The command that QEMU runs for each connection, as a shell would quote it.

    Messages go nowhere: QEMU gives them to the guest, in the midst of the stream. ``-t`` bounds how
    long half of a closed connection may linger; an open one has no time limit.
    """
    address = "".join(f"\\{c}" if c in _SOCAT_SPECIAL else c for c in endpoint)
    return shlex.join(["socat", "-lf", "/dev/null", "-t", "30", "STDIO", f"UNIX-CONNECT:{address}"])


def _escape(value: str) -> str:
    return value.replace(",", ",,")


def _json(**fields: Any) -> str:
    return json.dumps(fields)
