"""Models whose weights are in files beside them, through a daemon, over each path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

import vaccel
from tests.conformance import models
from tests.conformance.models import F32, graph, value
from tests.integration.daemon_host import PROFILE, DaemonHost
from tests.integration.test_keeper import kill_worker
from vaccel import toolchain
from vaccel.errors import DeviceLost, Exhausted, InvalidArgument, InvalidModel, NotFound
from vaccel.toolchain import Request

WIDTH = 256
LAYERS = 6
X = np.linspace(-1, 1, 2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


def layered(folder: Path, files: int = 2) -> Path:
    """Products and sums whose weights, 1.5 MB, lie in some files, one of them in a folder below."""
    random = np.random.default_rng(20261122)
    nodes, tensors = [], []
    names = [f"part{index}.bin" for index in range(files - 1)] + ["deep/er/last.bin"]
    data: dict[str, bytearray] = {name: bytearray(b"head") for name in names}
    data[names[-1]] *= 16  # aligned here, and not there
    for index in range(LAYERS):
        for name, shape in ((f"w{index}", (WIDTH, WIDTH)), (f"b{index}", (WIDTH,))):
            array = random.standard_normal(shape, np.float32) / np.float32(WIDTH**0.5)
            place = names[len(tensors) % files]
            tensor = TensorProto(name=name, data_type=F32, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": place, "offset": len(data[place]), "length": array.nbytes}
            for key, text in entries.items():
                tensor.external_data.add(key=key, value=str(text))
            data[place] += array.tobytes()
            tensors.append(tensor)
        taken = [f"v{index}", f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Gemm", taken, [f"v{index + 1}"], name=f"layer{index}"))
    made = models.model(
        graph(nodes, [value("v0", F32, ["n", WIDTH])], [value(f"v{LAYERS}", F32, None)], tensors)
    )
    for name, content in data.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def expected(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = 1
    session = ort.InferenceSession(path, chosen, providers=["CPUExecutionProvider"])
    return session.run(None, {"v0": X})[0]


@pytest.mark.parametrize("path", ["aperture", "grpc"])
def test_weights_in_files_beside_the_model(host: DaemonHost, tmp_path: Path, path: str) -> None:
    file = layered(tmp_path)
    with host.vf(f"beside-{path}") as vf, vaccel.open(address=vf.socket, path=path) as device:
        model = device.load(file)
        size = LAYERS * WIDTH * (WIDTH + 1) * 4
        assert model.weight_bytes == size
        # The upload became the weights: nothing of it is held beside them.
        usage = host.admin.vf(vf.id).usage
        assert usage is not None and (usage.buffers, usage.memory_bytes) == (0, size)
        np.testing.assert_allclose(model(X)[f"v{LAYERS}"], expected(file), rtol=1e-5, atol=1e-6)
        # By bytes, with data from anywhere; the same model, and so the same program.
        names = [f"part{index}.bin" for index in range(1)]
        data: dict[str, bytes | Path] = {name: (tmp_path / name).read_bytes() for name in names}
        data["deep/er/last.bin"] = tmp_path / "deep/er/last.bin"
        again = device.load(file.read_bytes(), data)
        assert again._program.sha256 == model._program.sha256
        np.testing.assert_array_equal(again(X)[f"v{LAYERS}"], model(X)[f"v{LAYERS}"])


def test_a_program_file_of_such_a_model(host: DaemonHost, tmp_path: Path) -> None:
    file = layered(tmp_path)
    done = toolchain.compile_model(file, Request(PROFILE), file=True, explain=True)
    assert done.file_bytes == len(done.file) > LAYERS * WIDTH * WIDTH * 4
    assert len(done.explanation["nodes"]) == LAYERS
    out = tmp_path / "model.vxp"
    out.write_bytes(done.file)
    with host.vf("file") as vf, vaccel.open(address=vf.socket) as device:
        np.testing.assert_allclose(
            device.load(out)(X)[f"v{LAYERS}"], expected(file), rtol=1e-5, atol=1e-6
        )
    (tmp_path / "part0.bin").unlink()
    with pytest.raises(InvalidArgument, match="part0"):
        toolchain.compile_model(file, Request(PROFILE), file=True, explain=False)


def test_a_reset_loads_it_again_where_the_files_are_the_same(
    host: DaemonHost, tmp_path: Path
) -> None:
    file = layered(tmp_path)
    with host.vf("again") as vf, vaccel.open(address=vf.socket) as device:
        model = device.load(file)
        before = model(X)[f"v{LAYERS}"]
        for same in (True, False):
            if not same:
                with (tmp_path / "part0.bin").open("r+b") as stream:
                    stream.seek(1000)
                    stream.write(b"changed")
            kill_worker(host, vf)
            with pytest.raises(DeviceLost):
                while True:
                    model(X)
            if same:
                np.testing.assert_array_equal(model(X)[f"v{LAYERS}"], before)
        with pytest.raises(NotFound, match="epoch"):
            model(X)


def test_data_that_is_not_there_or_not_the_models_is_refused_here(
    host: DaemonHost, tmp_path: Path
) -> None:
    file = layered(tmp_path)
    made = ModelProto.FromString(file.read_bytes())
    place = made.graph.initializer[0].external_data[0]
    (tmp_path / "link.bin").symlink_to(tmp_path / "part0.bin")
    os.mkfifo(tmp_path / "pipe.bin")
    (tmp_path / "folder.bin").mkdir()
    (tmp_path / "deep" / "round").symlink_to(tmp_path / "deep" / "er")
    bad = {
        "/etc/passwd": InvalidModel,
        "../part0.bin": InvalidModel,
        "deep/../part0.bin": InvalidModel,
        "http://host/part0.bin": InvalidModel,
        "C:\\part0.bin": InvalidModel,
        "": InvalidModel,
        "link.bin": InvalidModel,
        "pipe.bin": InvalidModel,
        "folder.bin": InvalidModel,
        "deep/round/last.bin": InvalidArgument,
        "missing.bin": InvalidArgument,
    }
    with host.vf("refused") as vf, vaccel.open(address=vf.socket) as device:
        for location, kind in bad.items():
            place.value = location
            file.write_bytes(made.SerializeToString())
            with pytest.raises(kind) as caught:
                device.load(file)
            assert repr(location) in str(caught.value)
        usage = host.admin.vf(vf.id).usage
        assert usage is not None and usage.buffers == 0


def test_more_data_than_the_vf_has_room_for(host: DaemonHost, tmp_path: Path) -> None:
    file = layered(tmp_path)
    with (tmp_path / "part0.bin").open("r+b") as stream:
        stream.truncate(64 << 30)  # a sparse file: it takes no room here
    with host.vf("full") as vf, vaccel.open(address=vf.socket) as device:
        with pytest.raises(Exhausted, match=r"needs 68\d{9} bytes of device memory"):
            device.load(file)
        assert device.load(models.build("affine")).weight_bytes == 60


def _weight(location: str, dims: list[int], **entries: str) -> bytes:
    tensor = TensorProto(name="w", data_type=F32, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    node = helper.make_node("Add", ["x", "w"], ["y"], name="it")
    made = graph([node], [value("x", F32, None)], [value("y", F32, None)], [tensor])
    return models.model(made).SerializeToString()


# What is wrong, with the data that comes with it, and a word of the refusal.
HOSTILE = {
    "offset past the end": (_weight("d", [1024], offset="1"), "4097"),
    "offset that overflows": (_weight("d", [4], offset=str(1 << 64)), "outside"),
    "offset that is negative": (_weight("d", [4], offset="-8"), "'-8'"),
    "offset of many digits": (_weight("d", [4], offset="9" * 5000), "is no number"),
    "offset in other digits": (_weight("d", [4], offset="\u0661"), "is no number"),
    "length that disagrees": (_weight("d", [4], length="17"), "refers to 17"),
    "shape that overflows": (_weight("d", [1 << 40, 1 << 40]), "outside"),
    "shape that is negative": (_weight("d", [-4]), "shape"),
    "another file's name": (_weight("e", [4]), "'e'"),
    "the same by another path": (_weight("./d", [4]), "'./d'"),
    "absolute": (_weight("/d", [4]), "'/d'"),
}


def test_external_data_that_means_harm(host: DaemonHost, subtests: pytest.Subtests) -> None:
    with host.vf("harm") as vf, vaccel.open(address=vf.socket) as device:
        pid = host.admin.vf(vf.id).worker_pid
        for name, (model, word) in HOSTILE.items():
            with subtests.test(name):
                with pytest.raises(InvalidModel) as caught:
                    device.load(model, {"d": bytes(4096)})
                assert word in str(caught.value) and "'w'" in str(caught.value)
        for name in ("/etc/passwd", "../d", "a\0b", "x" * 300, ""):
            with subtests.test(f"name {name[:10]!r}"), pytest.raises(InvalidModel):
                device.load(_weight(name, [4]), {name: bytes(16)})
        # Overlapping ranges of one file may not become more memory than was sent.
        many = ModelProto.FromString(_weight("d", [1]))
        del many.graph.initializer[:]
        for index in range(400):
            tensor = many.graph.initializer.add(name=f"w{index}", data_type=F32, dims=[1 << 18])
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in {"location": "d", "offset": str(index)}.items():
                tensor.external_data.add(key=key, value=text)
        many.graph.node[0].input[1] = "w0"
        with pytest.raises(InvalidModel, match="overlap"):
            device.load(many.SerializeToString(), {"d": bytes(2 << 20)})
        model = device.load(_weight("d", [1024]), {"d": np.arange(1024, dtype=np.float32).data})
        np.testing.assert_array_equal(
            model(np.zeros(1024, np.float32))["y"], np.arange(1024, dtype=np.float32)
        )
        assert host.admin.vf(vf.id).worker_pid == pid


def test_constants_and_narrow_types_are_put_into_the_graph(host: DaemonHost) -> None:
    wide = np.arange(2048, dtype=np.float32) / 7
    inner = from_array(wide, "inner")
    inner.ClearField("raw_data")
    inner.data_location = TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="c.bin")
    node = helper.make_node("Constant", [], ["c"], name="constant", value=inner)
    add = helper.make_node("Add", ["x", "c"], ["y"], name="sum")
    made = models.model(graph([node, add], [value("x", F32, [2048])], [value("y", F32, None)]))
    with host.vf("inner") as vf, vaccel.open(address=vf.socket) as device:
        model = device.load(made.SerializeToString(), {"c.bin": wide.tobytes()})
        np.testing.assert_array_equal(model(np.ones(2048, np.float32))["y"], wide + 1)
