from __future__ import annotations

import json

from vaccel import __version__
from vaccel.errors import Unavailable


def test_images(ctl, host):
    assert "vaccelctl image build" in ctl("image list").out
    assert ctl("image build").out == (
        "image debian abababababab: 300 MiB at /var/cache/vaccel/debian\n"
    )
    assert "fetch packages 25%" in ctl.err
    ctl("image build other --rebuild")
    assert host.calls == [("build_image", ("", False)), ("build_image", ("other", True))]
    assert "debian  abababababab  300 MiB  2023-11-14 22:13 UTC  yes" in ctl("image list").out
    assert [image["name"] for image in json.loads(ctl("image list --json").out)] == [
        "debian",
        "other",
    ]


def test_status(ctl, host):
    host.warnings = ("disk is \x1b[31mfull",)
    out = ctl("status").out
    for part in ("host-1", "1h 1m", "tcg: no vmx or svm", "1 GiB of 8 GiB"):
        assert part in out
    assert out.endswith("warning: disk is \N{REPLACEMENT CHARACTER}[31mfull\n")
    assert json.loads(ctl("status --json").out)["memory_limit_bytes"] == 8 << 30


def test_version_needs_no_daemon(ctl, host, monkeypatch):
    assert json.loads(ctl("version --json").out) == {"vaccelctl": __version__, "vacceld": "9.8.7"}

    def away():
        raise Unavailable("nobody answers")

    monkeypatch.setattr(host, "status", away)
    assert ctl("version").code == 0
    assert "not known: nobody answers" in ctl.out
    assert json.loads(ctl("version --json").out)["vacceld"] is None
