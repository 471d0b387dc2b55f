"""The kernel library: single kernels by name, each a graph of mostly one node.

``vaccel.kernels`` declares them; here each is drawn. Everything else (checks of a model, signature,
cost, execution) is common to all programs. Where the device computes an operation in its own
arithmetic, a one-node program runs there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import onnx
from onnx import GraphProto, ModelProto, ValueInfoProto, helper

from host_daemon.compiler.kernels.draft import Draft
from host_daemon.compiler.kernels.graphs import DRAWINGS
from host_daemon.compiler.signature import TO_ONNX
from vaccel import bounds, kernels
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.kernels import declaration, fit
from vaccel.kernels.declaration import Kernel, Operand
from vaccel.model import Port, Shape


def build(source: KernelSource, arithmetic: Sequence[str]) -> ModelProto:
    """The kernel's graph; its outputs are called as the kernel's results.

    ``arithmetic`` is what the device has. Raises NotFound for an unknown kernel, InvalidArgument
    naming the operand or attribute at fault, and with all operands side by side where they do not
    fit together; Unsupported for another arithmetic.
    """
    kernel = kernels.find(source.name)
    settings = kernel.settings(source.attributes)
    stated = source.attributes.get(declaration.ARITHMETIC, "")
    if stated and stated not in arithmetic:
        raise Unsupported(
            f"kernel {kernel.name}: the device does not compute in {stated[:80]!r}",
            hint="it does in " + ", ".join(arithmetic),
        )
    for port in source.operands:
        _check_dims(port)
    ports = fit.bind_operands(kernel, source.operands)
    types, variables = kernel.variant(fit.types_of(kernel, ports))
    fit.check_operands(kernel, ports, settings)
    results = {
        each.name: types.result(index, variables, settings)
        for index, each in enumerate(kernel.results)
    }
    draft = Draft(kernel, ports, settings, results)
    DRAWINGS[kernel.name](draft)
    return _with_result_shapes(kernel, ports, _model(draft))


def checker(source: KernelSource) -> Callable[[Mapping[str, Shape]], None]:
    """What raises InvalidArgument, operands side by side, where shapes of a launch do not fit a
    kernel that was drawn for operands of open shapes.
    """
    kernel = kernels.find(source.name)
    settings = kernel.settings(source.attributes)
    ports = fit.bind_operands(kernel, source.operands)

    def check(shapes: Mapping[str, Shape]) -> None:
        given = {n: replace(port, shape=shapes.get(n, port.shape)) for n, port in ports.items()}
        fit.check_operands(kernel, given, settings)

    return check


def _model(draft: Draft) -> ModelProto:
    graph = helper.make_graph(
        draft.nodes,
        draft.kernel.name,
        [
            helper.make_tensor_value_info(name, TO_ONNX[port.dtype], port.shape)
            for name, port in draft.ports.items()
        ],
        [
            helper.make_tensor_value_info(name, TO_ONNX[dtype], None)
            for name, dtype in draft.results.items()
        ],
        draft.constants,
    )
    opset = [helper.make_opsetid("", draft.opset)]
    return helper.make_model(graph, opset_imports=opset, ir_version=draft.ir)


def _check_dims(port: Port) -> None:
    if port.shape is None:
        return
    if len(port.shape) > bounds.TENSOR_RANK:
        raise InvalidArgument(f"operand {port}: rank is at most {bounds.TENSOR_RANK}")
    for dim in port.shape:
        if isinstance(dim, int) and not 0 <= dim < 1 << 63:
            raise InvalidArgument(f"operand {port}: {dim} is no dimension")


def _with_result_shapes(kernel: Kernel, ports: dict[str, Port], model: ModelProto) -> ModelProto:
    try:
        found = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, RuntimeError) as fault:
        given = "; ".join(map(str, ports.values()))
        reason = " ".join(str(fault).split()).rpartition("] ")[2][:200]
        raise InvalidArgument(
            f"kernel {kernel.name}: operands do not fit together: {given}: {reason}",
            hint="it takes " + ", ".join(map(str, kernel.operands)),
        ) from fault
    for operand, value in zip(kernel.results, found.graph.output, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            _copy_shape(operand, kernel, found.graph, value)
    return found


def _copy_shape(
    result: Operand, kernel: Kernel, graph: GraphProto, value: ValueInfoProto
) -> None:
    """Give a result, of which ONNX infers nothing, the shape of the operand with its dimensions."""
    for operand in kernel.operands:
        if operand.dims == result.dims:
            given = next(each for each in graph.input if each.name == operand.name)
            value.type.tensor_type.shape.CopyFrom(given.type.tensor_type.shape)
            return
