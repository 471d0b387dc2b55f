"""What set-up installs is what the code uses, in the versions that are declared."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vaccel
from host_daemon.hypervisors.qmp import driver
from host_daemon.images import runner
from host_daemon.images.wheels import parse_lock

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# On every Debian, or with the Python that is a prerequisite.
GIVEN = {"apt", "dpkg", "e2fsprogs", "tar"}


def test_versions_agree():
    assert PROJECT["dynamic"] == ["version"], "vaccel/__init__.py states it, and nothing else does"
    assert vaccel.__version__ == metadata.version("vaccel"), "run make setup"
    changes = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d[^]]*)\]", changes, re.MULTILINE)
    assert versions[0] == vaccel.__version__
    assert changes.index("## [Unreleased]") < changes.index(f"## [{versions[0]}]")


def test_the_lock_satisfies_what_is_declared():
    pins = {pin.name: pin for pin in parse_lock((ROOT / "requirements.lock").read_text())}
    declared = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    for line in declared:
        wanted = Requirement(line)
        if wanted.name == "vaccel":
            continue
        pin = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(pin.version), line
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", hashed) for hashed in pin.hashes)


def test_what_is_installed_is_what_is_locked():
    for pin in parse_lock((ROOT / "requirements.lock").read_text()):
        if not pin.marker:
            assert metadata.version(pin.name) == pin.version, "run make setup"


def test_programs_come_from_the_listed_packages():
    lines = (ROOT / "packages.apt").read_text().splitlines()
    listed = {line.split("#")[0].strip() for line in lines} - {""}
    needed = set(runner.PACKAGES.values()) | set(driver.PROGRAMS.values()) | {"espeak-ng"}
    assert needed - GIVEN <= listed


def test_programs_of_ours_exist():
    scripts = {entry.name for entry in metadata.entry_points(group="console_scripts")}
    assert set(PROJECT["scripts"]) == {"vaccelctl", "vacceld", "vaccel-agent"} <= scripts


def test_every_target_of_the_makefile_says_what_it_does():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert re.search(rf"^{target}:", text, re.MULTILINE), target
