from __future__ import annotations

from pathlib import Path

import pytest

from host_daemon.images.wheels import guest_requirements, parse_lock
from vaccel.errors import HostFault

CHECKOUT = Path(__file__).resolve().parents[4]


def names(requirements: str) -> list[str]:
    return [line.split()[0] for line in requirements.splitlines()]


def test_only_what_is_wanted_and_what_it_needs(lock_file: Path) -> None:
    chosen = guest_requirements(lock_file.read_text(), ["numpy", "grpcio"], "3.11")
    assert names(chosen) == ["grpcio==1.85.1", "numpy==2.4.6", "typing-extensions==4.16.0"]
    assert chosen.count("--hash=sha256:") == 4


def test_markers_are_decided_for_the_guest_not_for_the_host(lock_file: Path) -> None:
    assert names(guest_requirements(lock_file.read_text(), ["numpy"], "3.12")) == ["numpy==2.5.5"]


def test_the_projects_own_lock_is_understood() -> None:
    text = (CHECKOUT / "requirements.lock").read_text()
    chosen = {
        name.split("==")[0]
        for name in names(guest_requirements(text, ["numpy", "grpcio", "protobuf"], "3.11"))
    }
    assert chosen == {"grpcio", "numpy", "protobuf", "typing-extensions"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("numpy==1.0 \\\n    # via x\n", "numpy has no hash"),
        ("numpy>=1.0\n", "line 1 is not understood: 'numpy>=1.0'"),
        ("--index-url somewhere\n", "line 1 is not understood"),
    ],
)
def test_a_lock_that_pins_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(HostFault, match=said):
        parse_lock(text)


def test_a_wanted_package_that_is_not_locked_is_named(lock_file: Path) -> None:
    with pytest.raises(HostFault, match=r"scipy is not locked for Python 3\.11"):
        guest_requirements(lock_file.read_text(), ["scipy"], "3.11")
