"""Hostile models and inputs against a real worker: refused by name, in time and in little memory,
without a file being opened, and the VF serves on.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from onnx.numpy_helper import from_array

import vaccel
from tests.conformance import models
from tests.conformance.models import F32, graph, value
from tests.integration.daemon_host import DaemonHost
from tests.integration.hostile_models import CASES
from tests.integration.hostile_models.hostile import branching, weighted
from tests.integration.hostile_models.outside import outside
from vaccel.errors import InvalidArgument, InvalidModel, VaccelError

SECONDS = 5.0
BYTES = 256 << 20
_IN_OPEN = 0x20


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far: what it takes, whatever else the machine does."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_each_hostile_model_is_refused(host: DaemonHost, subtests: pytest.Subtests) -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 80
    with host.vf("hostile") as vf, vaccel.open(address=vf.socket) as device:
        device.load(models.build("affine"))
        worker = host.admin.vf(vf.id).worker_pid
        idle = peak_bytes(worker)
        for case in CASES:
            with subtests.test(case.name):
                data = case.make()
                begun = cpu_seconds(worker)
                with pytest.raises(case.kinds) as caught:
                    device.load(data)
                assert cpu_seconds(worker) - begun < SECONDS
                text = str(caught.value)
                assert text.isprintable() and len(text) < 2000
                assert all(word in text for word in case.words), text
                assert peak_bytes(worker) - idle - len(data) < BYTES
        # The same worker computes as before, and holds nothing of all that.
        outputs = device.load(models.build("affine"))(np.ones((2, 4), np.float32))
        weight, bias = models.affine_weights()
        np.testing.assert_allclose(outputs["y"], np.ones((2, 4)) @ weight + bias, rtol=1e-6)
        assert host.admin.vf(vf.id).worker_pid == worker
        assert host.admin.vf(vf.id).usage.memory_bytes < 1 << 20


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Names of files below a folder that anybody opens meanwhile, by inotify(7)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0
    assert libc.inotify_add_watch(descriptor, str(folder).encode(), _IN_OPEN) >= 0
    opened: list[str] = []
    try:
        yield opened
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            data = b""
        at = 0
        while at < len(data):
            (length,) = struct.unpack_from("I", data, at + 12)
            opened.append(data[at + 16 : at + 16 + length].rstrip(b"\0").decode())
            at += 16 + length
    finally:
        os.close(descriptor)


def test_no_file_outside_the_upload_is_opened(host: DaemonHost) -> None:
    folder = host.folder / "bait"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "weights").write_bytes(bytes(4096))
    (folder / "link").symlink_to(folder / "weights")
    places = [f"{folder}/{name}" for name in ("weights", "link", "sub/../weights")]
    places += [f"file://{folder}/weights", f"../../../../../../..{folder}/weights"]
    with host.vf("bait") as vf, vaccel.open(address=vf.socket) as device:
        with watched(folder) as opened:
            for place in places:
                with pytest.raises(InvalidModel, match="outside the model"):
                    device.load(weighted(outside(place)).SerializeToString())
        assert opened == []
        with watched(folder) as opened:  # the watch itself works
            (folder / "weights").read_bytes()
        assert opened == ["weights"]


def _takes(op: str, *names: str, kind: int = TensorProto.INT64, **attributes: object) -> bytes:
    """table[8] and an input ``x`` of a kind."""
    table = from_array(np.arange(8, dtype=np.float32), "table")
    node = models.helper.make_node(op, list(names), ["y"], name="it", **attributes)
    made = graph([node], [value("x", kind, ["n"])], [value("y", F32, None)], [table])
    return models.model(made).SerializeToString()


@pytest.mark.parametrize("index", [8, -9, 1 << 40, -(1 << 63)])
def test_an_index_out_of_range_is_refused_by_name(host: DaemonHost, index: int) -> None:
    with host.vf("index") as vf, vaccel.open(address=vf.socket) as device:
        model = device.load(_takes("Gather", "table", "x"))
        with pytest.raises(InvalidArgument, match=r"'it'.*indices|index"):
            model(np.array([0, index]))
        np.testing.assert_array_equal(model(np.array([-8, 7]))["y"], [0, 7])


def test_empty_and_zero_size_tensors_are_as_onnx_says(host: DaemonHost) -> None:
    with host.vf("empty") as vf, vaccel.open(address=vf.socket) as device:
        assert device.load(_takes("Gather", "table", "x"))(np.zeros(0, np.int64))["y"].shape == (0,)
        affine = device.load(models.build("affine"))
        assert affine(np.zeros((0, 4), np.float32))["y"].shape == (0, 3)
        with pytest.raises(InvalidArgument, match="x"):
            affine(np.zeros((2, 0), np.float32))
        twice = device.load(models.build("twice"))
        assert twice(np.array([], dtype=object))["both"].shape == (0,)


def test_a_recurrence_over_nothing_in_a_branch_does_not_end_the_worker(host: DaemonHost) -> None:
    ones = from_array(np.ones((1, 6, 2), np.float32), "w")
    node = models.helper.make_node("GRU", ["x", "w", "w"], ["h"], name="cell", hidden_size=2)
    made = branching(graph([node], [], [value("h", F32, None)]))
    made.graph.input[0].CopyFrom(value("x", F32, ["s", "b", 2]))
    made.graph.output[0].CopyFrom(value("y", F32, None))
    made.graph.initializer.append(ones)
    with host.vf("recurrence") as vf, vaccel.open(address=vf.socket) as device:
        worker = host.admin.vf(vf.id).worker_pid
        model = device.load(made.SerializeToString())
        for shape in ((0, 1, 2), (1, 0, 2)):
            with pytest.raises(InvalidArgument, match=r"'cell' runs over nothing"):
                model(x=np.zeros(shape, np.float32), flag=np.array(True))
        assert model(x=np.ones((3, 1, 2), np.float32), flag=np.array(True))["y"].size == 6
        assert host.admin.vf(vf.id).worker_pid == worker


def test_strings_of_a_wrong_encoding_are_refused_by_name(host: DaemonHost) -> None:
    with host.vf("text") as vf, vaccel.open(address=vf.socket) as device:
        twice = device.load(models.build("twice"))
        for text in ("\ud800", b"\xff\xfe"):
            with pytest.raises(VaccelError, match="text") as caught:
                twice(np.array([text], dtype=object))
            assert isinstance(caught.value, InvalidArgument)
        strange = ["", "\0", "\U0001f600", "e\u0301"]
        given = twice(np.array(strange, dtype=object))["both"]
        assert list(given) == strange * 2
