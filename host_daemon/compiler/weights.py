"""Large weights apart from their graph: one copy of each, aligned, shared by all that computes.

A checked model's graph keeps a placeholder for each of them: an initializer with name, type and
shape whose data is said to lie at ``PLACE``. Sessions get the arrays beside the graph
(``sessions.open_session``); whatever needs one within a graph calls ``inlined``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper

from host_daemon.compiler.graphs import printable
from host_daemon.compiler.wire import Cut
from vaccel.errors import InvalidModel
from vaccel.model import Array

# No file has such a name, and a model that comes with a location of its own is refused.
PLACE: Final = "\0vaccel"
# What NumPy gives its own arrays, and kernels rely on.
ALIGNMENT: Final = 16
Weights = Mapping[str, Array]


def take(
    source: memoryview, cuts: Mapping[int, Cut], model: ModelProto, own: bool = False
) -> dict[str, Array]:
    """What was cut out of a model as arrays by name: copies, or with ``own`` parts of ``source``.

    Then ``source`` must be nobody else's: weights move within it, to where kernels can read them.
    Raises InvalidModel where a tensor's shape and its bytes disagree, or where two have one name.
    """
    found: dict[str, Array] = {}
    settle = _Settler(source) if own else None
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
        data: Array = np.frombuffer(source[cut.start : cut.end], np.uint8)
        data = settle.settled(cut) if settle else copied(data)
        found[tensor.name] = shaped(data, tensor)
    return found


class _Settler:
    """Moves weights down within their upload, each to the next aligned place.

    What lies between them there, their names and shapes, was copied when they were cut out.
    """

    def __init__(self, source: memoryview) -> None:
        self._bytes = np.frombuffer(source, np.uint8)
        self._base = self._bytes.ctypes.data
        self._free = 0

    def settled(self, cut: Cut) -> Array:
        """The weight, aligned. Weights come in the order in which they lie."""
        start = self._free + -(self._base + self._free) % ALIGNMENT
        size = cut.end - cut.start
        data = self._bytes[cut.start : cut.end]
        if start > cut.start:  # its head is too short to move into
            self._free = cut.end
            return copied(data)
        target = self._bytes[start : start + size]
        if start != cut.start:
            np.copyto(target, data)  # NumPy copies overlapping ranges as if through a third place
        self._free = start + size
        return target


def copied(data: Array) -> Array:
    """Bytes, once more."""
    made = np.empty(data.nbytes, np.uint8)
    made[:] = data
    return made


def shaped(data: Array, tensor: TensorProto) -> Array:
    """Bytes as a tensor's values, which nobody writes."""
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    made = data.view(dtype).reshape(tuple(tensor.dims))
    made.setflags(write=False)
    return made


def mark(model: ModelProto, names: Iterable[str]) -> None:
    """Say in the graph that these initializers' data lies elsewhere."""
    wanted = set(names)
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.name in wanted:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value=f"{PLACE}{index}")


def unmark(model: ModelProto) -> None:
    """Undo ``mark``: the initializers have neither data nor a place."""
    for tensor in model.graph.initializer:
        if is_apart(tensor):
            tensor.ClearField("data_location")
            del tensor.external_data[:]


def is_apart(tensor: TensorProto) -> bool:
    """Whether an initializer is only the place of a weight that lies elsewhere."""
    return tensor.data_location == TensorProto.EXTERNAL


def placed(graph: GraphProto, weights: Weights) -> dict[str, Array]:
    """Those weights that a graph has places for, by place: what a session over it wants."""
    apart = filter(is_apart, graph.initializer)
    return {tensor.external_data[0].value: weights[tensor.name] for tensor in apart}


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


def forget_defaults(graph: GraphProto, kept: Collection[str] = ()) -> None:
    """Take out what inputs have as a default, save of those that are ``kept``: a launch may replace
    it, so that it says nothing of values and sizes.
    """
    replaced = {value.name for value in graph.input}.difference(kept)
    if not any(tensor.name in replaced for tensor in graph.initializer):
        return
    left = [each for each in graph.initializer if each.name not in replaced]
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in left]
    del graph.initializer[:]
    graph.initializer.extend(copies)


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
