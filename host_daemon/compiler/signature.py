"""What a program takes and gives, read from its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from onnx import GraphProto, TensorProto, TypeProto, ValueInfoProto

from host_daemon.compiler.graphs import printable
from host_daemon.compiler.symbols import is_symbol
from vaccel import bounds
from vaccel.errors import InvalidModel, Unsupported
from vaccel.model import MAP, OPTIONAL, SEQUENCE, DType, Port

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
    TensorProto.COMPLEX64: DType.COMPLEX64,
    TensorProto.COMPLEX128: DType.COMPLEX128,
    TensorProto.BFLOAT16: DType.BFLOAT16,
    TensorProto.FLOAT8E4M3FN: DType.FLOAT8_E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ: DType.FLOAT8_E4M3FNUZ,
    TensorProto.FLOAT8E5M2: DType.FLOAT8_E5M2,
    TensorProto.FLOAT8E5M2FNUZ: DType.FLOAT8_E5M2FNUZ,
    TensorProto.FLOAT4E2M1: DType.FLOAT4_E2M1FN,
    TensorProto.UINT4: DType.UINT4,
    TensorProto.INT4: DType.INT4,
    **{
        # Newer than the oldest onnx that is supported.
        TensorProto.DataType.Value(name): dtype
        for name, dtype in (
            ("FLOAT8E8M0", DType.FLOAT8_E8M0FNU),
            ("FLOAT6E2M3", DType.FLOAT6_E2M3FN),
            ("FLOAT6E3M2", DType.FLOAT6_E3M2FN),
            ("UINT2", DType.UINT2),
            ("INT2", DType.INT2),
        )
        if name in TensorProto.DataType.keys()  # noqa: SIM118 - it is no dict
    },
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
    containers, kind = _unwrapped(value.type, f"{noun} {printable(name)}")
    tensor = kind.tensor_type
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
        return Port(name, dtype, None, optional, containers)
    if len(tensor.shape.dim) > bounds.TENSOR_RANK:
        raise InvalidModel(
            f"{noun} {printable(name)} has rank {len(tensor.shape.dim)}: at most"
            f" {bounds.TENSOR_RANK}"
        )
    dims: list[int | str | None] = []
    for dim in tensor.shape.dim:
        if dim.WhichOneof("value") == "dim_value":
            # Some exporters write -1 for what is not known.
            dims.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            symbol = dim.dim_param[: bounds.NAME_BYTES]
            dims.append(symbol if is_symbol(symbol) else None)
    return Port(name, dtype, tuple(dims), optional, containers)


def _unwrapped(kind: TypeProto, where: str) -> tuple[tuple[str, ...], TypeProto]:
    """What wraps the tensors of a type, and the tensors' own type."""
    containers: list[str] = []
    while (what := kind.WhichOneof("value")) != "tensor_type":
        if what == "sequence_type":
            containers.append(SEQUENCE)
            kind = kind.sequence_type.elem_type
        elif what == "optional_type":
            containers.append(OPTIONAL)
            kind = kind.optional_type.elem_type
        elif what == "map_type":
            key = FROM_ONNX.get(kind.map_type.key_type)
            containers.append(f"{MAP}{key.value if key else kind.map_type.key_type}")
            kind = kind.map_type.value_type
        else:
            raise Unsupported(
                f"{where} is a {(what or 'unknown').removesuffix('_type')}, not a tensor",
                hint="make every input and output of the model a tensor, or a container of tensors",
            )
        if len(containers) > bounds.VALUE_DEPTH:
            raise InvalidModel(f"{where}: containers nest deeper than {bounds.VALUE_DEPTH}")
    return tuple(containers), kind
