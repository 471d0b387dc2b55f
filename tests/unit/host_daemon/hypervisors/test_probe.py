from __future__ import annotations

import time
from pathlib import Path

import pytest

from host_daemon.hypervisors.qmp.probe import has_virtualisation, probe, try_guest
from host_daemon.hypervisors.qmp.rom import ROM_BYTES, rom
from vaccel import bounds
from vaccel.errors import InvalidArgument


@pytest.fixture
def capable(tmp_path: Path) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu vmx sse2\n")
    return path


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu vmx", True), ("fpu svm sse", True), ("fpu sse", False), ("vmxish xsvm", False)],
)
def test_flags(flags: str, expected: bool) -> None:
    assert has_virtualisation(f"model name\t: vmx svm\nflags\t\t: {flags}\n") is expected


async def test_overrides() -> None:
    assert await probe("kvm") == ("kvm", "set by the configuration")
    assert await probe("tcg") == ("tcg", "set by the configuration")
    with pytest.raises(InvalidArgument, match="'fast'"):
        await probe("fast")


async def test_reasons_against_kvm(tmp_path: Path, capable: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("flags\t\t: fpu\n")
    assert await probe("auto", cpuinfo=plain) == ("tcg", "the CPU shows neither vmx nor svm")
    absent = tmp_path / "kvm"
    assert await probe("auto", cpuinfo=capable, device=absent) == ("tcg", f"there is no {absent}")


async def test_the_guest_works_under_tcg() -> None:
    assert await try_guest("tcg") == ""


async def test_a_guest_that_takes_too_long_is_given_up() -> None:
    began = time.monotonic()
    assert await try_guest("tcg", seconds=0.001) == "a guest did not finish within 0.001 s"
    assert time.monotonic() - began < bounds.PROBE_SECONDS


async def test_an_accelerator_that_fails_is_quoted() -> None:
    assert (await try_guest("none-such")).startswith("QEMU failed: ")


async def test_whatever_kvm_is_here_it_cannot_hang_the_probe(capable: Path) -> None:
    began = time.monotonic()
    accelerator, why = await probe("auto", cpuinfo=capable)
    assert accelerator in ("kvm", "tcg") and why
    assert time.monotonic() - began < 3 * bounds.PROBE_SECONDS


def test_the_rom_starts_where_a_processor_does() -> None:
    image = rom()
    assert len(image) == ROM_BYTES
    assert image[-16:-11] == bytes.fromhex("ea000000f0")
