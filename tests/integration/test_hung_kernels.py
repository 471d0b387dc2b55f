"""A node that does not end holds no VF for ever: its worker ends itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx.numpy_helper import from_array

import vaccel
from tests.conformance import models
from tests.conformance.compute_session import affine
from tests.conformance.models import I64, graph, model, value
from tests.integration.daemon_host import DaemonHost
from vaccel import bounds
from vaccel.errors import DeviceLost, TimedOut

X = np.ones((2, 4), np.float32)
# ONNX Runtime multiplies integers of 64 bits one by one: 216e9 of them take a minute and more,
# within one node, which nothing stops.
SIDE = 6000


def long_product() -> bytes:
    nodes = [
        models.helper.make_node("Expand", ["x", "sides"], ["square"], name="square"),
        models.helper.make_node("MatMul", ["square", "square"], ["z"], name="long"),
        models.helper.make_node("ReduceMax", ["z"], ["y"], name="last", keepdims=0),
    ]
    sides = from_array(np.array([SIDE, SIDE]), "sides")
    made = graph(nodes, [value("x", I64, ["n"])], [value("y", I64, [])], [sides])
    return model(made).SerializeToString()


def test_a_launch_that_does_not_stop_resets_its_vf() -> None:
    with DaemonHost() as host, host.vf("hung") as vf, ThreadPoolExecutor(1) as apps:
        hanging = vaccel.open(address=vf.socket)
        try:
            long, other = hanging.load(long_product()), vaccel.open(address=vf.socket)
            waiting = other.load(models.build("affine"))
            worker = host.admin.vf(vf.id).worker_pid
            with pytest.raises(TimedOut):
                long(np.ones(1, np.int64), timeout=1.0)
            answer = apps.submit(waiting, X)
        finally:
            began = time.monotonic()
            hanging.close()
        with other:
            with pytest.raises(DeviceLost):
                answer.result(2 * bounds.STOP_SECONDS + bounds.WORKER_START_SECONDS)
            assert time.monotonic() - began >= bounds.STOP_SECONDS
            # The VF is another worker's, and serves on.
            np.testing.assert_allclose(waiting(X)["y"], affine(X), rtol=1e-6)
        now = host.admin.vf(vf.id)
        assert now.worker_pid != worker
        assert (now.state, now.epoch) == ("attached", vf.epoch + 1)
        said = (host.folder / "state/workers.log").read_text()
        assert "was told to stop 10 s ago and runs on: this worker ends itself" in said
