"""The fake of these tests offers what AdminClient offers: what passes here runs there."""

from __future__ import annotations

import inspect

from vaccel.admin import AdminClient


def test_the_fake_has_the_clients_operations(host):
    wanted = {
        name: member
        for name, member in inspect.getmembers(AdminClient, inspect.isfunction)
        if not name.startswith("_")
    }
    for name, member in wanted.items():
        ours = inspect.signature(getattr(type(host), name)).parameters
        theirs = inspect.signature(member).parameters
        assert list(ours) == list(theirs), name
        defaults = [p.default for p in ours.values() if not callable(p.default)]
        assert defaults == [p.default for p in theirs.values() if not callable(p.default)], name


def test_the_default_address_is_the_wires(ctl):
    from vaccel.cli.session import DEFAULT_ADDRESS
    from vaccel.rpc.address import CONTROL

    assert DEFAULT_ADDRESS == CONTROL
    ctl("status")
    ctl("--address unix:/tmp/other.sock status")
    assert ctl.addresses == [CONTROL, "unix:/tmp/other.sock"]


def test_the_address_may_come_from_the_environment(ctl, monkeypatch):
    monkeypatch.setenv("VACCELCTL_ADDRESS", "localhost:7000")
    ctl("status")
    assert ctl.addresses == ["localhost:7000"]


def test_every_command_closes_its_client(ctl, host):
    for line in ("status", "pf list", "vf list", "vm list", "image list", "profile list"):
        assert ctl(line).code == 0, line
        assert ctl(f"{line} --json").code == 0, line
    assert host.closed == len(ctl.addresses) == 12
