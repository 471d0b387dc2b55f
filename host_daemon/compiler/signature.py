"""What a program takes and gives, read from its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from onnx import GraphProto, TensorProto, ValueInfoProto

from host_daemon.compiler.graphs import printable
from vaccel import bounds
from vaccel.errors import InvalidModel, Unsupported
from vaccel.model import DType, Port

FROM_ONNX: Final[dict[int, DType]] = {
    TensorProto.DOUBLE: DType.FLOAT64,
    TensorProto.FLOAT: DType.FLOAT32,
    TensorProto.FLOAT16: DType.FLOAT16,
    TensorProto.INT64: DType.INT64,
    TensorProto.INT32: DType.INT32,
    TensorProto.INT16: DType.INT16,
    TensorProto.INT8: DType.INT8,
    TensorProto.UINT64: DType.UINT64,
    TensorProto.UINT32: DType.UINT32,
    TensorProto.UINT16: DType.UINT16,
    TensorProto.UINT8: DType.UINT8,
    TensorProto.BOOL: DType.BOOL,
    TensorProto.STRING: DType.STRING,
}
TO_ONNX: Final[dict[DType, int]] = {dtype: number for number, dtype in FROM_ONNX.items()}


def inputs(graph: GraphProto) -> tuple[Port, ...]:
    """Inputs; one that is also an initializer has a default and is optional."""
    defaults = {tensor.name for tensor in graph.initializer}
    return _ports(graph.input, "input", defaults)


def outputs(graph: GraphProto) -> tuple[Port, ...]:
    """Outputs."""
    return _ports(graph.output, "output", set())


def _ports(values: Sequence[ValueInfoProto], noun: str, defaults: set[str]) -> tuple[Port, ...]:
    if len(values) > bounds.ARGUMENTS_PER_LAUNCH:
        raise InvalidModel(
            f"model has {len(values)} {noun}s: at most {bounds.ARGUMENTS_PER_LAUNCH}"
        )
    return tuple(_port(value, noun, value.name in defaults) for value in values)


def _port(value: ValueInfoProto, noun: str, optional: bool) -> Port:
    name = value.name
    if not name or len(name.encode()) > bounds.NAME_BYTES or not name.isprintable():
        raise InvalidModel(
            f"{noun} {printable(name)}: a name is 1 to {bounds.NAME_BYTES} printable bytes"
        )
    if value.type.WhichOneof("value") != "tensor_type":
        kind = value.type.WhichOneof("value") or "unknown"
        raise Unsupported(
            f"{noun} {printable(name)} is a {kind.removesuffix('_type')}, not a tensor",
            hint="make every input and output of the model a tensor",
        )
    tensor = value.type.tensor_type
    dtype = FROM_ONNX.get(tensor.elem_type)
    if dtype is None:
        known = TensorProto.DataType.keys()
        index = tensor.elem_type
        text = known[index].lower() if index < len(known) else str(index)
        raise Unsupported(
            f"{noun} {printable(name)} is of type {text}, which does not travel",
            hint="cast it in the model; " + ", ".join(d.value for d in DType) + " travel",
        )
    if not tensor.HasField("shape"):
        return Port(name, dtype, None, optional)
    if len(tensor.shape.dim) > bounds.TENSOR_RANK:
        raise InvalidModel(
            f"{noun} {printable(name)} has rank {len(tensor.shape.dim)}: at most"
            f" {bounds.TENSOR_RANK}"
        )
    dims: list[int | str | None] = []
    for dim in tensor.shape.dim:
        if dim.WhichOneof("value") == "dim_value":
            dims.append(dim.dim_value)
        else:
            dims.append(dim.dim_param[: bounds.NAME_BYTES] or None)
    return Port(name, dtype, tuple(dims), optional)
