"""Large weights apart from their graph: one copy of each, aligned, shared by all that computes.

A checked model's graph keeps a placeholder for each of them: an initializer with name, type and
shape whose data is said to lie at ``PLACE``. Sessions get the arrays beside the graph
(``sessions.open_session``); whatever needs one within a graph calls ``inlined``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper

from host_daemon.compiler.graphs import printable
from host_daemon.compiler.wire import Cut
from vaccel.errors import InvalidModel
from vaccel.model import Array

# No file has such a name, and a model that comes with a location of its own is refused.
PLACE: Final = "\0vaccel"
Weights = Mapping[str, Array]


def take(source: memoryview, cuts: Mapping[int, Cut], model: ModelProto) -> dict[str, Array]:
    """Copy what was cut out of a model into arrays by name, and mark their places in the graph.

    Raises InvalidModel where a tensor's shape and its bytes disagree, or where two have one name.
    """
    found: dict[str, Array] = {}
    for index, cut in cuts.items():
        tensor = model.graph.initializer[index]
        if tensor.name in found:
            raise InvalidModel(f"initializer {printable(tensor.name)} is there twice")
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        needed = math.prod(shape) * dtype.itemsize
        if needed != cut.end - cut.start or any(dim < 0 for dim in shape):
            raise InvalidModel(
                f"initializer {printable(tensor.name)} of shape {list(shape)[:20]} needs"
                f" {needed} bytes and has {cut.end - cut.start}",
                hint="export the model as one self-contained .onnx file",
            )
        array = np.empty(needed, np.uint8)
        array[:] = np.frombuffer(source[cut.start : cut.end], np.uint8)
        array.setflags(write=False)
        found[tensor.name] = array.view(dtype).reshape(shape)
    return found


def mark(model: ModelProto, names: Iterable[str]) -> None:
    """Say in the graph that these initializers' data lies elsewhere."""
    wanted = set(names)
    for tensor in model.graph.initializer:
        if tensor.name in wanted:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value=PLACE)


def unmark(model: ModelProto) -> None:
    """Undo ``mark``: the initializers have neither data nor a place."""
    for tensor in model.graph.initializer:
        if is_apart(tensor):
            tensor.ClearField("data_location")
            del tensor.external_data[:]


def is_apart(tensor: TensorProto) -> bool:
    """Whether an initializer is only the place of a weight that lies elsewhere."""
    return tensor.data_location == TensorProto.EXTERNAL


def used(graph: GraphProto, weights: Weights) -> dict[str, Array]:
    """Those weights that a graph has places for: what a session over it wants."""
    return {t.name: weights[t.name] for t in graph.initializer if is_apart(t)}


def inlined(graph: GraphProto, weights: Weights) -> GraphProto:
    """The same graph with the weights in it: one more copy of each."""
    made = GraphProto()
    made.CopyFrom(graph)
    for tensor in made.initializer:
        if is_apart(tensor):
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = weights[tensor.name].tobytes()
    return made


def as_inputs(model: ModelProto) -> ModelProto:
    """The model as checkers and shape inference may see it: weights that lie elsewhere are inputs.

    Neither of them reads values of that size, and both would look for a file.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    given = {value.name for value in graph.input}
    left = [tensor for tensor in graph.initializer if not is_apart(tensor)]
    for tensor in graph.initializer:
        if is_apart(tensor) and tensor.name not in given:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tuple(tensor.dims))
            )
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in left]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return made
