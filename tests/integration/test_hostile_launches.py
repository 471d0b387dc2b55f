"""Launches that ONNX Runtime would not outlive: refused by name or right, in time, and the VF, its
worker and what others have there serve on.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import vaccel
from tests.conformance import models
from tests.conformance.compute_session import affine
from tests.integration.daemon_host import DaemonHost
from tests.integration.hostile_models.launches import CASES, HostileLaunch
from vaccel.errors import InvalidArgument, InvalidModel

# By the clock, and of a launch: a kernel that never ends would not be found by what a load takes.
SECONDS = 10.0
X = np.ones((2, 4), np.float32)


def launch(device: vaccel.Device, case: HostileLaunch) -> None:
    program = device.load(case.make().SerializeToString())
    if case.words:
        for _ in range(2):  # a second launch is not traced
            with pytest.raises(InvalidArgument) as caught:
                program(**case.inputs, timeout=SECONDS)
            assert all(word in caught.value.message for word in case.words), caught.value
        return
    for _ in range(2):
        found = program(**case.inputs, timeout=SECONDS)
        for name, expected in case.results.items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-6)


def test_the_vf_serves_on_after_each(subtests: pytest.Subtests) -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 30
    with DaemonHost() as host, host.vf("hostile") as vf:
        worker = host.admin.vf(vf.id).worker_pid
        with vaccel.open(address=vf.socket) as neighbour, vaccel.open(address=vf.socket) as device:
            serves = neighbour.load(models.build("affine"))
            for case in CASES:
                with subtests.test(case.name):
                    began = time.monotonic()
                    launch(device, case)
                    assert time.monotonic() - began < SECONDS
                    np.testing.assert_allclose(serves(X)["y"], affine(X), rtol=1e-6)
                    assert host.admin.vf(vf.id).worker_pid == worker


def test_a_hole_among_operands_is_refused_at_load(subtests: pytest.Subtests) -> None:
    with DaemonHost() as host, host.vf("holes") as vf, vaccel.open(address=vf.socket) as device:
        worker = host.admin.vf(vf.id).worker_pid
        for op in ("Max", "Min", "Sum", "Mean"):
            with subtests.test(op):
                node = models.helper.make_node(op, ["x", "", "x"], ["y"], name="it")
                values = [models.value(n, models.F32, ["n"]) for n in "xy"]
                made = models.model(models.graph([node], values[:1], values[1:]))
                with pytest.raises(InvalidModel, match=r"'it'.*operand 1 is left out"):
                    device.load(made.SerializeToString())
                assert host.admin.vf(vf.id).worker_pid == worker
