"""vaccel/v1 is what proto/ says, by the generator that is locked; the picture of a window is what
its layout says.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vaccel.aperture import layout, picture

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    sources = sorted((ROOT / "proto/vaccel/v1").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    command += [f"--python_out={folder}", f"--pyi_out={folder}", *map(str, sources)]
    subprocess.run(command, check=True)
    return folder / "vaccel/v1"


def test_the_same_files(generated):
    ours = {p.name for p in (ROOT / "vaccel/v1").glob("*.py*")} - {"__init__.py"}
    assert ours == {path.name for path in generated.iterdir()}


def test_the_same_content(generated):
    for path in generated.iterdir():
        ours = (ROOT / "vaccel/v1" / path.name).read_text()
        assert ours == path.read_text(), f"{path.name} is stale: run make proto"


def test_the_picture_of_a_window_is_drawn_from_its_layout():
    ours = (ROOT / "docs/img/aperture.svg").read_text()
    again = "run python -m vaccel.aperture.picture docs/img/aperture.svg"
    assert ours == picture.svg(), again
    drawing = ElementTree.fromstring(ours)
    shown = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    fields = (*layout.WORDS, *layout.SLOTS, *layout.STATUS_FIELDS, *layout.QUEUE_FIELDS)
    areas = layout.areas(picture.SHOWN_BYTES)
    assert {each.name for each in (*fields, *areas)} <= set(shown)


def test_the_command_writes_the_picture(tmp_path):
    path = tmp_path / "aperture.svg"
    command = [sys.executable, "-m", "vaccel.aperture.picture", str(path)]
    subprocess.run(command, check=True, cwd=ROOT)
    assert path.read_text() == picture.svg()
