from __future__ import annotations

import json

import pytest


def test_life_of_a_vf(ctl):
    assert ctl("vf create npu.2c.12g --name speech").out == (
        "created VF speech (vf-1) on npu0: 2 cores, 12 GiB\n"
    )
    assert ctl("vf attach speech --vm web-1").out == "VF speech is attached: VM web-1\n"
    assert "plug the VF in" in ctl.err
    assert "VM web-1" in ctl("vf list").out
    assert ctl("vf detach speech").out == "VF speech is ready\n"
    assert ctl("vf destroy speech").out == "destroyed VF speech\n"
    assert ctl("vf list").out == "No VFs. Make one: vaccelctl vf create PROFILE\n"


def test_a_vf_without_a_name_is_called_by_its_id(ctl):
    assert ctl("vf create npu.1c.6g").out == "created VF vf-1 on npu0: 1 core, 6 GiB\n"


def test_options_arrive(ctl, host):
    ctl("vf create npu.1c.6g --pf npu0 --name files --tenant blue")
    ctl("vf attach files --local --no-wait")
    ctl("vf detach files --force")
    assert host.calls == [
        ("create_vf", ("npu.1c.6g", "npu0", "files", "blue")),
        ("attach_vf", ("files", "", True, False)),
        ("detach_vf", ("files", True)),
    ]


def test_show_and_json_agree(ctl):
    ctl("vf create npu.2c.12g --name speech")
    shown = json.loads(ctl("vf show vf-1 --json").out)
    assert shown == json.loads(ctl("vf list --json").out)[0]
    assert shown["profile"]["name"] == "npu.2c.12g"
    assert shown["usage"]["launches"] == 0
    text = ctl("vf show speech").out
    for part in ("id              vf-1", "cores           0, 1", "worker          process 4242"):
        assert part in text


def test_a_local_vf_says_where_to_connect(ctl):
    ctl("vf create npu.2c.12g")
    assert "local, /run/vacceld/vf-1.sock" in ctl("vf attach vf-1 --local").out


@pytest.mark.parametrize("where", ["", "--vm web-1 --local"])
def test_attach_needs_one_place(ctl, host, where):
    assert ctl(f"vf attach speech {where}").code == 2
    assert "either --vm NAME or --local" in ctl.err
    assert host.calls == []


def test_an_attached_vf_is_destroyed_only_by_force(ctl):
    ctl("vf create npu.2c.12g --name speech")
    ctl("vf attach speech --local")
    assert ctl("vf destroy speech").code == 4
    assert ctl.err == (
        "vaccelctl: VF speech is attached\n  hint: detach it first: vaccelctl vf detach\n"
    )
    assert json.loads(ctl("vf destroy speech --force --json").out) == {
        "vf": "speech",
        "destroyed": True,
    }


def test_more_than_fits_says_what_is_free(ctl):
    for _ in range(4):
        assert ctl("vf create npu.2c.12g").code == 0
    assert ctl("vf create npu.1c.6g").code == 5
    assert "0 free cores" in ctl.err


def test_recalibrating_says_what_it_cost_and_show_how_cells_are(ctl, host):
    ctl("vf create npu.1c.6g --name analog")
    assert "health" not in ctl("vf show analog").out
    assert ctl("vf recalibrate analog").out == "recalibrated VF analog: 45.5 us, 15 uJ\n"
    shown = ctl("vf show analog").out
    assert "warning; worst wear" in shown
    assert "85 % (warning; of endurance)" in shown
    assert json.loads(ctl("vf show analog --json").out)["conditions"][1]["value"] == 86_400
    assert json.loads(ctl("vf recalibrate analog --json").out)["cost"]["end_ns"] == 45_500


@pytest.mark.parametrize(
    ("time", "seconds"), [("90s", 90), ("1h", 3600), ("30d", 2_592_000), ("1.5y", 47_304_000)]
)
def test_a_clock_is_advanced_by_a_time(ctl, host, time, seconds):
    assert ctl(f"pf advance-clock npu0 {time}").out.startswith("clock of npu0 is at ")
    assert host.calls == [("advance_clock", ("npu0", seconds))]


def test_a_time_without_unit_is_refused(ctl):
    for wrong in ("30", "d", "1w", "1e3s"):
        assert ctl(f"pf advance-clock npu0 {wrong}").code == 2
        assert f"TIME = '{wrong}'" in ctl.err
