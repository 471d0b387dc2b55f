"""A model larger than a protobuf can be: loaded from its files, run, and compared.

It is synthetic: products with seeded weights, 512 MiB each at the usual width, in one file of
external data. ONNX Runtime in this process, over the same files, says what is right; its session is
gone before the worker begins.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from vaccel.bench import result
from vaccel.bench.compile import PROFILE, resident
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.errors import HostFault
from vaccel.model import Array

WIDTH: Final = 11_584
LAYERS: Final = 5
_SEED: Final = 20261122
_ROWS: Final = 64
_BATCH: Final = 4
# Those of ``bench agreement``.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5


@dataclass(frozen=True, slots=True)
class Result(result.Result):
    """``load_ms`` brings the model there and compiles it; ``peak_bytes`` is of the worker, over
    what it had before; ``differs`` counts elements that are not ONNX Runtime's.
    """

    model: str
    model_bytes: int
    nodes: int
    load_ms: float
    again_ms: float
    run_ms: float
    peak_bytes: int
    elements: int
    differs: int
    largest_difference: float


def run(progress: Progress, layers: int = LAYERS, width: int = WIDTH) -> Result:
    """Write the model, ask ONNX Runtime, then a VF. Raises HostFault without room on the disk."""
    with PrivateHost(threads=1, progress=progress) as host:
        size = layers * width * width * 4
        if shutil.disk_usage(host.folder).free < 2 * size:
            raise HostFault(f"{host.folder} has no room for a model of {size} bytes")
        progress(f"write a model of {size / 1e9:.1f} GB", -1.0)
        path = _write(host.folder / "large", layers, width)
        x = np.random.default_rng(_SEED).standard_normal((_BATCH, width), np.float32)
        progress("run it in this process", -1.0)
        right = _expected(path, x)
        progress("load it by a VF", -1.0)
        return _measured(host, path, x, right)


def _measured(host: PrivateHost, path: Path, x: Array, right: Array) -> Result:
    import vaccel

    vf = host.admin.create_vf(PROFILE)
    vf = host.admin.attach_vf(vf.id, local=True)
    worker = host.admin.vf(vf.id).worker_pid
    before = resident(worker, "VmRSS")
    with vaccel.open(address=vf.socket) as device:
        begun = time.perf_counter()
        model = device.load(path)
        loaded = time.perf_counter()
        given = model(x)["y"]
        model(x)
        ran = time.perf_counter()
        model(x)
        ended = time.perf_counter()
        peak = resident(worker, "VmHWM") - before
        again = time.perf_counter()
        device.load(path).unload()
        again = time.perf_counter() - again
        nodes = model._program.nodes
    host.admin.destroy_vf(vf.id, force=True)
    close = np.isclose(given, right, rtol=_RELATIVE, atol=_ABSOLUTE)
    return Result(
        *result.head("large"),
        f"synthetic, {nodes} nodes",
        sum(each.stat().st_size for each in path.parent.iterdir()),
        nodes,
        1e3 * (loaded - begun),
        1e3 * again,
        1e3 * (ended - ran),
        peak,
        int(right.size),
        int((~close).sum()),
        float(np.abs(given - right).max()),
    )


def _write(folder: Path, layers: int, width: int) -> Path:
    """Products: tanh(…tanh(x · w0)… · wn): the model, and its weights in one file beside it."""
    folder.mkdir()
    random = np.random.default_rng(_SEED)
    nodes, weights = [], []
    with (folder / "model.onnx.data").open("wb") as stream:
        for index in range(layers):
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, raw_data=b"")
            tensor.dims.extend((width, width))
            place = stream.tell()
            for at in range(0, width, _ROWS):
                rows = random.standard_normal((min(_ROWS, width - at), width), np.float32)
                stream.write((rows / np.float32(width**0.5)).data)
            set_external_data(tensor, "model.onnx.data", place, stream.tell() - place)
            tensor.ClearField("raw_data")
            weights.append(tensor)
            last = "y" if index == layers - 1 else f"v{index + 1}"
            nodes += [
                helper.make_node("Gemm", [f"v{index}", f"w{index}"], [f"p{index}"]),
                helper.make_node("Tanh", [f"p{index}"], [last]),
            ]
    shape: list[str | int | None] = ["n", width]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("v0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        initializer=weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def _expected(path: Path, x: Array) -> Array:
    import onnxruntime as ort

    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = 1
    # Its own copy of the weights would be one too many for a small machine.
    chosen.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(path, chosen, providers=["CPUExecutionProvider"])
    (right,) = session.run(["y"], {"v0": x})
    return np.asarray(right)
