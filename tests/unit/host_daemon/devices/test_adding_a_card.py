from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from host_daemon.devices import registry
from tests.conformance.device import DeviceConformance

PAGE = Path(__file__).parents[4] / "docs" / "devices" / "adding-a-card.md"


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_short() -> None:
    assert len((_block("python") + _block("toml")).splitlines()) < 150


class TestTheExampleOfThePage(DeviceConformance):
    @pytest.fixture(autouse=True)
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        (tmp_path / "dot_card.py").write_text(_block("python"))
        card_file = tmp_path / "dot-1.toml"
        card_file.write_text(_block("toml"))
        monkeypatch.setattr(type(self), "card_file", card_file, raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        points = EntryPoints([EntryPoint("dot", "dot_card:DotKind", registry.GROUP)])
        monkeypatch.setattr(registry.metadata, "entry_points", lambda group: points)
        yield
        sys.modules.pop("dot_card", None)
