"""Maps out of a program and into one, as classifiers of ``ai.onnx.ml`` have them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from host_daemon.worker.executor import Executor
from tests.conformance.compute import opened, tensor
from tests.conformance.compute_session import array
from tests.conformance.models import F32, graph, model, value
from vaccel.binding import object_of
from vaccel.commands import Launch
from vaccel.errors import InvalidArgument
from vaccel.model import Items, Port, Strings, Table


def with_ml(made: ModelProto) -> ModelProto:
    made.opset_import.add(domain="ai.onnx.ml", version=3)
    return made


def zipped(**classes: list[object]) -> bytes:
    kind = TensorProto.STRING if "classlabels_strings" in classes else TensorProto.INT64
    each = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(F32, None))
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **classes)
    output = helper.make_value_info("y", helper.make_sequence_type_proto(each))
    made = model(graph([node], [value("x", F32, ["n", 2])], [output]))
    return with_ml(made).SerializeToString()


@pytest.mark.parametrize(
    ("classes", "keys", "kind"),
    [
        ({"classlabels_int64s": [3, 5]}, [3, 5], "int64"),
        ({"classlabels_strings": ["cat", "dog"]}, ["cat", "dog"], "string"),
    ],
)
async def test_a_classifier_gives_a_map_a_row(
    executor: Executor, classes: dict[str, list[object]], keys: list[object], kind: str
) -> None:
    x = np.array([[0.25, 0.75], [1, 0]], np.float32)
    async with opened(executor) as session:
        program = await session.load(zipped(**classes))
        (port,) = program.outputs
        assert port.containers == ("sequence", f"map of {kind}")
        done = await session.launch(program.id, {"x": tensor(x)})
        given = done.results["y"]
        assert isinstance(given, Items)
        expected = [dict(zip(keys, row, strict=True)) for row in x.tolist()]
        assert object_of(given) == expected
        assert done.cost is not None
        assert done.cost.nodes == {"vector": 1}


async def test_a_program_takes_a_map(executor: Executor) -> None:
    floats = helper.make_tensor_type_proto(F32, None)
    node = helper.make_node(
        "DictVectorizer",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        string_vocabulary=["a", "b", "c"],
    )
    taken = helper.make_value_info("x", helper.make_map_type_proto(TensorProto.STRING, floats))
    made = with_ml(model(graph([node], [taken], [value("y", F32, None)])))
    async with opened(executor) as session:
        program = await session.load(made.SerializeToString())
        assert program.inputs[0].containers == ("map of string",)
        assert isinstance(program.inputs[0], Port)
        table = Table(Strings((2,), ("c", "a")), tensor(np.array([3, 1], np.float32)))
        done = await session.launch(program.id, {"x": table})
        assert array(done.results["y"]).ravel().tolist() == [1, 0, 3]
        wrong = Table(tensor(np.array([1, 2])), tensor(np.array([3, 1], np.float32)))
        (refused,) = await session.run(Launch(program.id, {"x": wrong}), first=2)
        assert isinstance(refused.error, InvalidArgument)
        assert "int64[2]" in str(refused.error)
