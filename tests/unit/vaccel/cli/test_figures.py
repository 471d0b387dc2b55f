from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vaccel.cli import figures
from vaccel.inventory import Figure

FIGURES = (
    Figure("clock", 1e9, "Hz", 1e9, "https://example.org"),
    Figure("memory", 48e9, "B", 48e9, "from memory", True),
    Figure("bandwidth", 1.5e12, "B/s", 1.5e12, "https://example.org"),
    Figure("power idle", 40.04, "W", 0.0, "an assumption"),
    Figure("power peak", 179.6, "W", 180.0, "from memory", True),
    Figure("peak bf16", 256e12, "OP/s", 256e12, "https://example.org"),
    Figure("energy per MAC bf16", 0.455e-12, "J", 0.0, "a paper", True),
    Figure("peak int8", 512e12, "OP/s", 0.0, "a guess", True),
)


def test_show_has_power_and_arithmetic_and_marks_what_is_unverified(ctl, monkeypatch):
    (plain,) = ctl.host.pfs()
    monkeypatch.setattr(ctl.host, "pfs", lambda: [replace(plain, figures=FIGURES)])
    lines = [" ".join(line.split()) for line in ctl("pf show npu0").out.splitlines()]
    assert "clock 1 GHz" in lines
    assert "memory 48 GiB, 48 GiB free (unverified)" in lines
    assert "bandwidth 1.5 TB/s" in lines
    assert "power 40.0 W idle, 179.6 W at most, published 180 W (unverified)" in lines
    assert "bf16 256 TOP/s 256 TOP/s 0.455 pJ (unverified)" in lines
    assert "int8 512 TOP/s - - unverified" in lines
    pf = json.loads(ctl("pf show npu0 --json").out)
    assert pf["figures"][4]["source"] == "from memory"
    assert pf["figures"][4]["unverified"] is True


def test_a_card_without_figures_shows_none(ctl):
    out = ctl("pf show npu0").out
    assert "power" not in out
    assert "ARITHMETIC" not in out


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2e15, "OP/s", "2 POP/s"),
        (512e12, "OP/s", "512 TOP/s"),
        (5e-6, "s", "5 us"),
        (0.0, "s", "0 s"),
        (0.37e-12, "J", "0.37 pJ"),
        (1.75e-12, "J", "1.75 pJ"),
        (2.0, "J", "2 J"),
        (1234.0, "J", "1.2 kJ"),
        (12345.0, "s", "12,345 s"),
    ],
)
def test_values_have_their_units(value, unit, text):
    assert figures.value_text(value, unit) == text
