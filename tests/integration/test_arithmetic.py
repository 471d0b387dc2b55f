"""A model in another arithmetic, through a daemon and a worker: numbers, costs, files, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

import vaccel
from vaccel.bench.private_host import PrivateHost
from vaccel.cli.main import run
from vaccel.errors import Unsupported

NODE = helper.make_node


def classifier() -> bytes:
    """y = Softmax(Relu(Conv(x)) averaged, times weights): ten kinds of pictures of 16 x 16."""
    random = np.random.default_rng(3)
    weights = {
        "filters": random.normal(0, 0.3, (16, 3, 3, 3)),
        "bias": random.normal(0, 0.1, 16),
        "kinds": random.normal(0, 2, (16, 10)),
    }
    nodes = [
        NODE("Conv", ["x", "filters", "bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        NODE("Relu", ["c"], ["r"], name="relu"),
        NODE("ReduceMean", ["r"], ["m"], name="mean", axes=[2, 3], keepdims=0),
        NODE("MatMul", ["m", "kinds"], ["k"], name="kind"),
        NODE("Softmax", ["k"], ["y"], name="softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [from_array(each.astype(np.float32), name) for name, each in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_a_model_in_short_arithmetic_decides_as_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "classifier.onnx"
    path.write_bytes(classifier())
    compiled = tmp_path / "short.vxp"
    asked = ["--profile", "npu.2c.12g", "--arithmetic", "bf16"]
    assert run(["compile", str(path), "-o", str(compiled), *asked]) == 0
    x = np.random.default_rng(0).random((40, 3, 16, 16), np.float32)
    with PrivateHost(threads=1) as host:
        vf = host.admin.create_vf("npu.2c.12g")
        vf = host.admin.attach_vf(vf.id, local=True)
        with vaccel.open(address=vf.socket) as device:
            plain = device.load(path)(x)
            found = {name: device.load(path, arithmetic=name) for name in ("bf16", "int8")}
            answers = {name: model(x) for name, model in found.items()}
            for given in answers.values():
                assert (given["y"].argmax(-1) == plain["y"].argmax(-1)).mean() >= 0.9
                assert 0 < np.abs(given["y"] - plain["y"]).max() < 0.1
                assert given.cost.critical_cycles < plain.cost.critical_cycles
                assert given.cost.nodes["array"] == plain.cost.nodes["array"] == 2
            # The same bytes in the same arithmetic, and a file that says which it is for.
            np.testing.assert_array_equal(device.load(compiled)(x)["y"], answers["bf16"]["y"])
            assert device.load(path)(x).cost.cycles == plain.cost.cycles
            with pytest.raises(Unsupported, match="a model in 'fp4'"):
                device.load(path, arithmetic="fp4")
