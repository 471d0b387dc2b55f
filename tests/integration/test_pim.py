"""A PIM card from a daemon's configuration to an SDK's numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vaccel
from host_daemon.devices.validate import DEFAULT
from tests.integration.daemon_host import CONFIG, DaemonHost
from vaccel.cli.main import run
from vaccel.model import DType, Port

PIM = CONFIG.replace("npu0", "pim0").replace("kcloud-1", "aquabolt-xl")


def test_the_public_vectors_through_a_vf_of_channels(capsys: pytest.CaptureFixture[str]) -> None:
    vectors = json.loads((DEFAULT / "pim" / "pimsimulator_gemv_bitexact.json").read_text())
    random = np.random.RandomState(1113)
    x = random.standard_normal(size=(1024, 1)).astype(np.float16).T
    weights = random.standard_normal(size=(4096, 1024)).astype(np.float16)
    random.shuffle(weights)
    with DaemonHost(PIM) as host:
        where = ["--address", f"unix:{host.control}"]
        assert run([*where, "pf", "show", "pim0", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["kind"], shown["card"]) == ("pim", "aquabolt-xl")
        assert run([*where, "vf", "create", "pim.16c.6g", "--name", "one"]) == 0
        vf = host.admin.attach_vf("one", local=True)
        with vaccel.open(address=vf.socket) as device:
            left = Port("a", DType.FLOAT16, (1, 1024))
            right = Port("b", DType.FLOAT16, (1024, 4096))
            matmul = device.kernel("matmul", left, right)
            outputs = matmul(x, np.ascontiguousarray(weights.T))
            bits = outputs["result"][0].view(np.uint16)[: len(vectors["y_fp16_bits"])]
            assert bits.tolist() == vectors["y_fp16_bits"]
            assert outputs.cost.nodes == {"banks": 1}
            assert outputs.cost.cycles["banks"] == 13389  # PIMSimulator, 16 channels, refresh
            assert {"host", "bus"} < outputs.cost.cycles.keys()
            assert outputs.cost.joules.keys() > {"activate", "column", "pim", "refresh", "static"}
