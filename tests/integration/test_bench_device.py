"""``bench device`` from its command line to a VF's worker and back."""

from __future__ import annotations

import json

import pytest

from vaccel.cli.main import run


def test_a_card_shows_its_public_figures_through_a_vf(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "device", "--card", "warboy", "--json"]) == 0
    out = capsys.readouterr().out
    result = json.loads(out)
    assert (result["bench"], result["card"]) == ("device", "warboy")
    assert set(result) == {"bench", "where", "machine", "versions", "card", "profile", "rows"}
    rows = {row["quantity"]: row for row in result["rows"]}
    assert rows["peak int8"]["expected"] == 64e12
    assert rows["peak int8"]["published"] is rows["peak int8"]["met"] is True
    assert rows["power peak"]["unverified"] is True


def test_a_card_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "device", "--card", "np4"]) == 2
    said = capsys.readouterr().err
    assert "vaccelctl: card 'np4': no card 'np4' in the catalogue (there are: aim," in said


def test_a_card_without_figures_says_which_to_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "device", "--card", "fake-1"]) == 7
    assert "states no figures" in capsys.readouterr().err
