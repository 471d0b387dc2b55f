"""Names of sizes: which of them stand for one size in a launch, and which for none.

A launch is held to symbols: one is one size in all inputs. Some names are no symbols, but what
exporters write for whatever is not known; ONNX Runtime, which shares memory among values of one
symbol, fails now and then where such a name is two sizes. So they are taken out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from onnx import GraphProto, ModelProto, TensorShapeProto, TypeProto

from host_daemon.compiler import graphs

# They say that a size is not known, and nothing else.
_NOTHING: Final = frozenset({"", "?", "*", "-1", "nan", "none", "null", "undefined", "unknown"})
# They may be a symbol, such as that of a batch, but not where two inputs or axes have them: the
# exporter, or whoever put two exported models together, hardly meant that these are one size.
_LOOSE: Final = re.compile(r"any|dyn|dynamic|unk|unk__\d+")


def is_symbol(name: str) -> bool:
    """Whether a name may stand for a size."""
    return name.strip().lower() not in _NOTHING


def settle(model: ModelProto) -> None:
    """Take out the names that are no symbols, of every value of a model."""
    graph = model.graph
    counts = Counter(
        dim.dim_param
        for value in graph.input
        for shape in _shapes(value.type)
        for dim in shape.dim
        if dim.dim_param
    )
    shared = {name for name, count in counts.items() if count > 1}
    none = {name for name in shared if _LOOSE.fullmatch(name.strip().lower())}
    for at in graphs.graphs(graph):
        for value in (*at.graph.input, *at.graph.output, *at.graph.value_info):
            for shape in _shapes(value.type):
                for dim in shape.dim:
                    name = dim.dim_param
                    if name and (name in none or not is_symbol(name)):
                        dim.ClearField("dim_param")


def forget_unheld(graph: GraphProto, defaults: Collection[str]) -> None:
    """Take out symbols of inputs that have ``defaults``, which a launch may leave out, and of
    inputs that contain tensors: nobody holds those to their symbols.
    """
    for value in graph.input:
        contains = value.type.WhichOneof("value") != "tensor_type"
        for shape in _shapes(value.type):
            for dim in shape.dim:
                unheld = contains or value.name in defaults or not is_symbol(dim.dim_param)
                if dim.dim_param and unheld:
                    dim.ClearField("dim_param")


def _shapes(kind: TypeProto) -> Iterator[TensorShapeProto]:
    """The shape of a tensor, or of those that a type contains, where it has one."""
    while (what := kind.WhichOneof("value")) not in ("tensor_type", "sparse_tensor_type", None):
        if what == "map_type":
            kind = kind.map_type.value_type
        elif what == "sequence_type":
            kind = kind.sequence_type.elem_type
        elif what == "optional_type":
            kind = kind.optional_type.elem_type
        else:
            return
    tensor = kind.tensor_type
    if what == "tensor_type" and tensor.HasField("shape"):
        yield tensor.shape
