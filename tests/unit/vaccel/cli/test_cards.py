from __future__ import annotations

import json
from dataclasses import replace

from vaccel.cli import card
from vaccel.cli.sizes import ranges_text


def test_list_says_what_is_free(ctl):
    ctl.host.create_vf("npu.2c.12g")
    lines = ctl("pf list").out.splitlines()
    assert lines[0].split("  ")[0] == "NAME"
    for part in ("npu0", "kcloud-1", "6 of 8", "36 GiB of 48 GiB", "1 GHz"):
        assert part in lines[1]


def test_show_draws_who_owns_which_core(ctl):
    ctl.host.create_vf("npu.2c.12g", name="speech")
    ctl.host.create_vf("npu.1c.6g", name="files")
    ctl.host.attach_vf("files", vm="web-1")
    ctl.host.create_vf("npu.1c.6g")
    out = ctl("pf show npu0").out
    assert "│ A │ A │ B │ C │ · │ · │ · │ · │" in out
    assert "A  speech  npu.2c.12g, cores 0, 1, ready" in out
    assert "B  files   npu.1c.6g, core 2, attached, in VM web-1" in out
    assert f"[{'A' * 12}{'B' * 6}{'C' * 6}{'·' * 24}]  48 GiB" in out
    assert "npu.2c.12g  2      12 GiB  2" in out


def test_a_card_of_many_cores_takes_several_rows(ctl):
    pf = replace(ctl.host.pfs()[0], core_owners=("gone",) + ("",) * 19)
    boxes = [line for line in card.draw(pf, []) if "│" in line]
    assert [line.count("·") for line in boxes] == [15, 4]
    assert "?" in boxes[0]


def test_a_card_of_hundreds_of_cores_is_a_map(ctl):
    pf = replace(ctl.host.pfs()[0], core_owners=("",) * 60 + ("gone",) * 8 + ("",) * 60)
    lines = list(card.draw(pf, []))
    assert lines[:2] == ["    0  " + "·" * 60 + "????", "   64  ????" + "·" * 60]
    assert lines[2].endswith("48 GiB")


def test_cores_in_a_row_are_a_range():
    assert ranges_text(()) == ""
    assert ranges_text((3,)) == "3"
    assert ranges_text((0, 1)) == "0, 1"
    assert ranges_text((*range(16), 20, 22, 23, 24)) == "0-15, 20, 22-24"


def test_json_has_every_field(ctl):
    (pf,) = json.loads(ctl("pf list --json").out)
    assert pf == json.loads(ctl("pf show npu0 --json").out)
    assert pf["fits"] == {"npu.1c.6g": 8, "npu.2c.12g": 4}
    assert pf["profiles"][0]["memory_bytes"] == 6 << 30


def test_a_card_that_is_not_there_names_those_that_are(ctl):
    assert ctl("pf show npu9").code == 3
    assert "there is no PF 'npu9'" in ctl.err
    assert "there are: npu0" in ctl.err


def test_profiles(ctl):
    out = ctl("profile list").out
    assert "npu.2c.12g  npu0  2      12 GiB  204.8 GB/s  256 MiB  4" in out
    rows = json.loads(ctl("profile list --json").out)
    assert [(row["pf"], row["name"], row["fits"]) for row in rows] == [
        ("npu0", "npu.1c.6g", 8),
        ("npu0", "npu.2c.12g", 4),
    ]
