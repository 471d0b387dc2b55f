"""The kernel library: single kernels by name, each a graph of one node.

A kernel is one entry of ``KERNELS``; everything else (checks, signature, cost, execution) is common
to all programs. Where the device computes an operation in its own arithmetic, a one-node program
runs there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import onnx
from onnx import ModelProto, helper

from host_daemon.compiler.signature import TO_ONNX
from host_daemon.core.device import ARITHMETIC
from vaccel import bounds
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument, NotFound
from vaccel.model import DType, Port

# What a current ONNX Runtime and the oldest supported one both know.
_OPSET: Final = 21
_IR: Final = 10
# The attribute of kernels, which becomes the node's own statement (``quantised.stated``).
_ARITHMETIC: Final = "arithmetic"


@dataclass(frozen=True, slots=True)
class Variant:
    """The ONNX node that computes a kernel for certain operand types."""

    op: str
    result: DType


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: its operands' names in order, a variant per tuple of their types, its attributes.

    ``attributes`` gives each attribute's type: int, float, or tuple (integers separated by commas).
    ``products`` take one more, ``arithmetic``: what the arrays are to compute in.
    """

    summary: str
    operands: tuple[str, ...]
    variants: Mapping[tuple[DType, ...], Variant]
    attributes: Mapping[str, type] = field(default_factory=dict)
    products: bool = False


_F32, _F16, _I32 = DType.FLOAT32, DType.FLOAT16, DType.INT32
_I8, _U8 = DType.INT8, DType.UINT8

KERNELS: Final[dict[str, Kernel]] = {
    "matmul": Kernel(
        "a[…, m, k] by b[…, k, n], as numpy.matmul; int8 gives int32, exactly",
        ("a", "b"),
        {
            (_F32, _F32): Variant("MatMul", _F32),
            (_F16, _F16): Variant("MatMul", _F16),
            (_I8, _I8): Variant("MatMulInteger", _I32),
            (_U8, _I8): Variant("MatMulInteger", _I32),
            (_U8, _U8): Variant("MatMulInteger", _I32),
        },
        products=True,
    ),
}


def build(source: KernelSource) -> ModelProto:
    """The kernel's graph; its output is called ``result``.

    Raises NotFound for an unknown kernel, InvalidArgument naming the operand or attribute at fault.
    """
    kernel = KERNELS.get(source.name)
    if kernel is None:
        raise NotFound(
            f"kernel {source.name[: bounds.NAME_BYTES]!r} does not exist",
            hint="there are: " + ", ".join(sorted(KERNELS)),
        )
    if len(source.operands) != len(kernel.operands):
        raise InvalidArgument(
            f"kernel {source.name}: expected operands {', '.join(kernel.operands)}, given"
            f" {len(source.operands)}"
        )
    names = [_operand_name(source, index, kernel) for index in range(len(kernel.operands))]
    variant = _variant(source, kernel)
    node = helper.make_node(
        variant.op, names, ["result"], name=source.name, **_attributes(source, kernel)
    )
    if kernel.products and _ARITHMETIC in source.attributes:
        node.metadata_props.add(key=ARITHMETIC, value=source.attributes[_ARITHMETIC])
    graph = helper.make_graph(
        [node],
        source.name,
        [
            helper.make_tensor_value_info(name, TO_ONNX[port.dtype], _dims(port))
            for name, port in zip(names, source.operands, strict=True)
        ],
        [helper.make_tensor_value_info("result", TO_ONNX[variant.result], None)],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR
    )
    return _with_result_shape(source, model)


def _operand_name(source: KernelSource, index: int, kernel: Kernel) -> str:
    given, expected = source.operands[index].name, kernel.operands[index]
    if given not in ("", expected):
        raise InvalidArgument(
            f"kernel {source.name}: operand {index} is {expected!r}, given"
            f" {given[: bounds.NAME_BYTES]!r}"
        )
    return expected


def _variant(source: KernelSource, kernel: Kernel) -> Variant:
    given = tuple(port.dtype for port in source.operands)
    variant = kernel.variants.get(given)
    if variant is None:
        choices = "; ".join(", ".join(d.value for d in types) for types in kernel.variants)
        raise InvalidArgument(
            f"kernel {source.name}: given types {', '.join(d.value for d in given)}",
            hint=f"it takes: {choices}",
        )
    return variant


def _attributes(source: KernelSource, kernel: Kernel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in source.attributes.items():
        if kernel.products and name == _ARITHMETIC:
            continue  # the device knows which there are, and refuses others by name
        kind = kernel.attributes.get(name)
        if kind is None:
            raise InvalidArgument(
                f"kernel {source.name}: no attribute {name[: bounds.NAME_BYTES]!r}",
                hint="it has: " + (", ".join(_names(kernel)) or "none"),
            )
        try:
            found[name] = [int(t) for t in text.split(",")] if kind is tuple else kind(text)
        except ValueError as fault:
            raise InvalidArgument(
                f"kernel {source.name}: attribute {name} is {text[:80]!r}, not {kind.__name__}"
            ) from fault
    return found


def _names(kernel: Kernel) -> list[str]:
    return [*kernel.attributes, *([_ARITHMETIC] if kernel.products else [])]


def _dims(port: Port) -> list[int | str | None] | None:
    if port.shape is None:
        return None
    if len(port.shape) > bounds.TENSOR_RANK:
        raise InvalidArgument(f"operand {port}: rank is at most {bounds.TENSOR_RANK}")
    for dim in port.shape:
        if isinstance(dim, int) and not 0 <= dim < 1 << 63:
            raise InvalidArgument(f"operand {port}: {dim} is no dimension")
    return list(port.shape)


def _with_result_shape(source: KernelSource, model: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, RuntimeError) as fault:
        given = "; ".join(str(port) for port in source.operands)
        raise InvalidArgument(
            f"kernel {source.name}: operands do not fit together: {given}"
        ) from fault
