"""``vaccelctl ops`` shows what ``vaccel.ops`` has, and asks nobody."""

from __future__ import annotations

import json

from vaccel.kernels import KERNELS


def test_every_kernel_is_listed(ctl, host):
    lines = ctl("ops").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(KERNELS)
    found = json.loads(ctl("ops --json").out)
    assert [each["name"] for each in found] == list(KERNELS)
    assert "Infinity" not in ctl.out
    assert host.calls == []


def test_one_kernel_in_full(ctl):
    out = ctl("ops matmul").out
    assert out.startswith("matmul(a[…, m, k], b[…, k, n], arithmetic='') → result[…, m, n]\n")
    for part in ("Σₖ a[…, m, k] · b[…, k, n]", "A, B → int32", ">>> print(ops.matmul(device, a"):
        assert part in out
    one = json.loads(ctl("ops clip --json").out)
    assert one["types"] == ["T → T (T: float32, float16, int8, uint8, int32, int64)"]
    assert one["attributes"][0]["default"] == "-inf"


def test_an_unknown_kernel_is_refused(ctl):
    assert ctl("ops matmul2").code == 3
    assert "did you mean" in ctl.err
