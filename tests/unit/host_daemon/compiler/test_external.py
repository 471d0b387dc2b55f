"""External data within an upload: where weights end up, and what is over which bound."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from tests.conformance.models import F32, graph, model, value
from vaccel import bounds
from vaccel.errors import InvalidModel

WIDE = 4096
COUNT = 5


def sums(*, apart: bool, shared: bool = False) -> tuple[ModelProto, bytes]:
    """x + w0 + w1 …, and the bytes of the weights where they are apart."""
    tensors, nodes, data = [], [], b""
    for index in range(COUNT):
        tensor = from_array(np.full(WIDE, index, np.float32), f"w{index}")
        if apart:
            at = 0 if shared else len(data)
            data += b"" if shared and data else tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="d")
            tensor.external_data.add(key="offset", value=str(at))
        tensors.append(tensor)
        nodes.append(helper.make_node("Add", [f"v{index}", f"w{index}"], [f"v{index + 1}"]))
    given, result = value("v0", F32, [WIDE]), value(f"v{COUNT}", F32, [WIDE])
    return model(graph(nodes, [given], [result], tensors)), data


def upload(data: bytes) -> memoryview:
    """Bytes of an upload's own, as device memory is."""
    return np.frombuffer(data, np.uint8).copy().data


def inside(array: np.ndarray, view: memoryview) -> bool:
    return np.shares_memory(array, np.frombuffer(view, np.uint8))


@pytest.mark.parametrize("own", [False, True])
def test_weights_within_a_model_are_aligned_wherever_they_end_up(own: bool) -> None:
    made, _ = sums(apart=False)
    view = upload(made.SerializeToString())
    checked = frontend.read(view, own=own)
    for index in range(COUNT):
        weight = checked.weights[f"w{index}"]
        assert (weight == index).all()
        assert weight.ctypes.data % 16 == 0 and not weight.flags.writeable
    held = [inside(weight, view) for weight in checked.weights.values()]
    # The first has perhaps too short a head to be moved into.
    assert sum(held) >= COUNT - 1 if own else not any(held)


@pytest.mark.parametrize("own", [False, True])
def test_external_weights_are_views_of_an_upload_of_their_own(own: bool) -> None:
    made, data = sums(apart=True)
    view = upload(data)
    checked = frontend.read(made.SerializeToString(), blobs={"d": view}, own=own)
    assert checked.weight_bytes == COUNT * WIDE * 4 == len(data)
    for index in range(COUNT):
        weight = checked.weights[f"w{index}"]
        assert (weight == index).all() and inside(weight, view) is own


def test_an_upload_that_is_mostly_something_else_is_not_kept() -> None:
    made, data = sums(apart=True)
    view = upload(data + bytes(len(data)))
    checked = frontend.read(made.SerializeToString(), blobs={"d": view}, own=True)
    assert not any(inside(weight, view) for weight in checked.weights.values())


def test_tensors_that_share_a_range_share_an_array() -> None:
    made, data = sums(apart=True, shared=True)
    checked = frontend.read(made.SerializeToString(), blobs={"d": upload(data)})
    first, *rest = checked.weights.values()
    assert all(np.shares_memory(first, each) for each in rest)


def test_a_model_over_the_bound_comes_with_its_data_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MODEL_BYTES", WIDE)  # less than one of the weights takes
    whole, _ = sums(apart=False)
    with pytest.raises(InvalidModel, match=f"at most {WIDE}"):
        frontend.read(whole.SerializeToString())
    made, data = sums(apart=True)
    checked = frontend.read(made.SerializeToString(), blobs={"d": upload(data)})
    assert checked.weight_bytes > WIDE and len(checked.proto.SerializeToString()) < WIDE


def test_the_hash_is_of_all_parts() -> None:
    made, data = sums(apart=True)
    serialized = made.SerializeToString()
    changed = bytearray(data)
    changed[-1] ^= 1
    hashes = {
        frontend.read(serialized, blobs={"d": upload(each), "more": upload(more)}).sha256
        for each, more in ((data, b""), (bytes(changed), b""), (data, b"x"))
    }
    hashes.add(frontend.read(serialized, blobs={"d": upload(data)}).sha256)
    assert len(hashes) == 4


def test_data_that_has_to_be_within_the_graph_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = TensorProto(name="c", data_type=F32, dims=[WIDE], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="d")
    node = helper.make_node("Constant", [], ["c"], name="it", value=tensor)
    add = helper.make_node("Add", ["x", "c"], ["y"])
    made = model(graph([node, add], [value("x", F32, [WIDE])], [value("y", F32, None)]))
    blobs = {"d": upload(bytes(4 * WIDE))}
    assert frontend.read(made.SerializeToString(), blobs=blobs).weight_bytes == 4 * WIDE
    monkeypatch.setattr(bounds, "BLOBS_INLINED_BYTES", WIDE)
    with pytest.raises(InvalidModel, match=r"'it'.*constants"):
        frontend.read(made.SerializeToString(), blobs=blobs)
