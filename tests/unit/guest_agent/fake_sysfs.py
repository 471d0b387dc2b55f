"""A sysfs tree with PCI functions, in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from vaccel.aperture.header import Header, encode

WINDOW_BYTES = 1 << 20


def header(vf: str = "0", epoch: int = 1, token: bytes = b"t" * 32) -> Header:
    return Header(
        epoch=epoch,
        vf="vf-" + vf.rjust(26, "0"),
        window_bytes=WINDOW_BYTES,
        endpoint="10.0.2.100:7443",
        server_name="vacceld",
        ca_pem=b"-----BEGIN CERTIFICATE-----\n",
        token=token,
    )


class FakeSysfs:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.devices = root / "bus" / "pci" / "devices"
        self.devices.mkdir(parents=True)

    def plug(
        self, address: str, page: bytes = b"", *, ids: tuple[str, str] = ("0x1af4", "0x1110")
    ) -> Path:
        folder = self.devices / address
        folder.mkdir()
        (folder / "vendor").write_text(ids[0] + "\n")
        (folder / "device").write_text(ids[1] + "\n")
        (folder / "enable").write_text("0\n")
        self.write(address, page or encode(header()))
        return folder

    def write(self, address: str, page: bytes) -> None:
        window = self.devices / address / "resource2"
        with window.open("wb") as file:
            file.write(page)
        os.truncate(window, WINDOW_BYTES)

    def unplug(self, address: str) -> None:
        folder = self.devices / address
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
