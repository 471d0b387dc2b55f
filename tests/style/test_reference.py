"""The reference pages list what the code has: keys, variables, codes, deadlines, documents."""

from __future__ import annotations

import re
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from host_daemon import config
from host_daemon.devices import registry
from vaccel import errors
from vaccel.kernels.__main__ import tables
from vaccel.rpc import status
from vaccel.rpc.rules import SERVICES

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\b(?:VACCELD|VACCELCTL)_[A-Z_]+\b")


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", ["host", "hypervisor", "images"])
def test_every_key_of_the_configuration_is_explained(name: str) -> None:
    section = read("configuration.md").partition(f"\n### [{name}]\n")[2].partition("\n#")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    hints = {"host": config.HostConfig, "hypervisor": config.HypervisorConfig}
    known = fields(hints.get(name, config.ImagesConfig))
    assert listed == [field.name for field in known]
    for field, row in zip(known, rows(section)[2:], strict=True):
        if isinstance(field.default, str | int) and field.default and field.name != "memory":
            assert f"`{field.default}`" in row, field.name
        else:
            assert field.default is not MISSING or field.default_factory is not MISSING


def test_the_example_configurations_are_accepted() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", read("configuration.md"), re.MULTILINE | re.DOTALL)
    smallest, all_keys = (config.parse(block, "example") for block in blocks)
    assert [pf.card for pf in smallest.pfs] == ["kcloud-1"]
    defaults = config.parse(blocks[0], "example")
    for section in ("host", "hypervisor", "images"):
        given, default = getattr(all_keys, section), getattr(defaults, section)
        same = [f.name for f in fields(given) if getattr(given, f.name) == getattr(default, f.name)]
        assert set(same) <= {"default"}, section


def test_every_card_of_the_catalogue_is_listed() -> None:
    text = read("configuration.md")
    assert [card for card in registry.cards() if f"`{card}`" not in text] == []


def test_every_variable_is_listed() -> None:
    found = set()
    for folder in ("vaccel", "host_daemon", "guest_agent", "images"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(VARIABLE.findall(path.read_text()))
    assert found
    assert found == set(VARIABLE.findall(read("configuration.md")))


def test_every_error_is_listed_with_its_status() -> None:
    text = rows(read("api.md"))
    for cls, code in status.CODES.items():
        if cls is not errors.VaccelError:
            assert any(f"`{cls.__name__}`" in row and f"| {code} |" in row for row in text), cls


def test_every_method_of_compute_has_its_deadline() -> None:
    section = read("api.md").partition("\n## Deadlines\n")[2].partition("\n## ")[0]
    listed = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in rows(section)))
    wanted = {method.name for method in SERVICES["Compute"].methods} | {"Enrol"}
    assert sorted(listed) == sorted(wanted)


def test_every_document_and_decision_is_in_its_index() -> None:
    done = subprocess.run(
        ["git", "ls-files", "docs/*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in done.stdout.split():
        path = ROOT / name
        index = path.parent if path.parent.name == "adr" else ROOT / "docs"
        if path.is_file() and path.name != "README.md":
            assert f"({path.relative_to(index)})" in (index / "README.md").read_text(), name


def test_the_tables_of_kernels_are_those_of_the_code() -> None:
    section = read("kernels.md").partition("prints these tables.\n\n")[2].partition("## Adding")[0]
    assert section == "".join(f"{line}\n" for line in tables()), "python -m vaccel.kernels"
