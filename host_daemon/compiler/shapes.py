"""What a kernel executes, from the shapes of its operands alone.

A product's shapes say all that its cost depends on. Where a program is one product, its plan needs
no traced run: a launch of it costs one run, and an estimate none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import onnx
from onnx import ModelProto, TensorProto, helper

from host_daemon.compiler.signature import FROM_ONNX, TO_ONNX
from host_daemon.compiler.trace import Executed, Typed

# Of these ONNX Runtime has a kernel for every type that it loads: what runs is the node itself.
_PRODUCTS: Final = frozenset(
    {"MatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "Conv", "ConvInteger", "QLinearConv"}
)


class KernelShapes:
    """The node of a program that has one."""

    def __init__(self, model: ModelProto) -> None:
        (self._node,) = model.graph.node
        self._opsets = list(model.opset_import)
        self._ir = model.ir_version
        self._constants = {
            tensor.name: (tensor.data_type, tuple(tensor.dims))
            for tensor in model.graph.initializer
        }
        domain = self._node.domain in ("", "ai.onnx")
        self._known = domain and self._node.op_type in _PRODUCTS and not model.functions

    def execution(self, inputs: Mapping[str, Typed]) -> Executed | None:
        """The node with the shapes of a launch; None where they do not say it all."""
        if not self._known:
            return None
        kinds = {name: (TO_ONNX[dtype], shape) for name, (dtype, shape) in inputs.items()}
        kinds = self._constants | kinds
        names = [name for name in self._node.input if name]
        if any(name not in kinds or kinds[name][0] not in FROM_ONNX for name in names):
            return None
        outputs = self._outputs({name: kinds[name] for name in names})
        if outputs is None:
            return None
        typed = tuple((FROM_ONNX[kinds[name][0]], kinds[name][1]) for name in names)
        return Executed(self._node.name, self._node.op_type, typed, outputs)

    def _outputs(
        self, inputs: Mapping[str, tuple[int, tuple[int, ...]]]
    ) -> tuple[Typed, ...] | None:
        graph = helper.make_graph(
            [self._node],
            "one",
            [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
            [
                helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
                for name in self._node.output
            ],
        )
        made = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir)
        try:
            found = onnx.shape_inference.infer_shapes(made, strict_mode=True)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            return None  # the kernel itself says what does not fit
        outputs = []
        for value in found.graph.output:
            tensor = value.type.tensor_type
            dims = tensor.shape.dim
            if tensor.elem_type not in FROM_ONNX or not tensor.HasField("shape"):
                return None
            if not all(dim.HasField("dim_value") for dim in dims):
                return None
            outputs.append((FROM_ONNX[tensor.elem_type], tuple(dim.dim_value for dim in dims)))
        return tuple(outputs)
