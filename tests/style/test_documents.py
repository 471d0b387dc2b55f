"""Links in the documents lead somewhere, and what they list is complete."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from vaccel import errors
from vaccel.cli.main import COMMANDS, LazyGroup

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as forges make them."""
    titles = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path):
    broken = []
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def commands() -> list[str]:
    """Every command of vaccelctl, as it is typed."""
    group = LazyGroup(name="vaccelctl")
    found = []
    for name in COMMANDS:
        command = group.get_command(None, name)
        verbs = getattr(command, "commands", {})
        found += [f"{name} {verb}" for verb in verbs] or [name]
    return found


def test_the_manual_shows_every_command_and_no_other():
    text = (ROOT / "docs/vaccelctl.md").read_text()
    titles = re.findall(r"^### `vaccelctl ([a-z -]+?)(?: [A-Z\[].*)?`", text, re.MULTILINE)
    assert sorted(titles) == sorted(commands())


def test_the_manual_shows_every_exit_code():
    text = (ROOT / "docs/vaccelctl.md").read_text()
    for name, cls in errors.BY_CODE.items():
        if cls is not errors.VaccelError:
            row = rf"^\| {cls.exit_code} \|.*\b{name}\b"
            assert re.search(row, text, re.MULTILINE), name


def test_every_option_is_in_the_manual():
    text = (ROOT / "docs/vaccelctl.md").read_text()
    group = LazyGroup(name="vaccelctl")
    for name in set(COMMANDS) - {"bench"}:
        command = group.get_command(None, name)
        for one in getattr(command, "commands", {}).values() or [command]:
            for parameter in one.params:
                for option in parameter.opts:
                    if option.startswith("--"):
                        assert option in text, f"{name} {one.name}: {option}"


def test_examples_parse():
    """Each example line of the manual is one that vaccelctl understands."""
    text = (ROOT / "docs/vaccelctl.md").read_text()
    lines = re.findall(r"^\$ vaccelctl (?:--address \S+ )?(.+)$", text, re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        noun, *words = shlex.split(line.split(" < ")[0])
        command = LazyGroup(name="vaccelctl").get_command(None, noun)
        if verbs := getattr(command, "commands", {}):
            command, words = verbs[words[0]], words[1:]
        with command.make_context(noun, words) as context:
            assert context.args == [], line
