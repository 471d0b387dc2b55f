"""What a kernel executes, from the shapes of its operands alone.

Where a program is one node whose shapes say all that its cost depends on, its plan needs no traced
run: a launch of it costs one run, and an estimate none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from host_daemon.compiler.signature import FROM_ONNX, TO_ONNX
from host_daemon.compiler.trace import Executed, Typed
from host_daemon.compiler.weights import is_apart
from vaccel.errors import InvalidArgument
from vaccel.model import Shape

# Shapes of results follow from shapes of operands and from constants alone; no path depends on a
# value, nothing is drawn at random, and a device prices the node as one.
_BY_SHAPE_TEXT: Final = """
MatMul MatMulInteger QLinearMatMul Gemm Conv ConvInteger QLinearConv
ConvTranspose MaxPool AveragePool GlobalMaxPool GlobalAveragePool
RNN GRU LSTM Attention RotaryEmbedding
Abs Neg Sign Reciprocal Sqrt Exp Log Sin Cos Tanh Erf Floor Ceil Round IsNaN Not Relu Sigmoid
Gelu Swish Mish Softplus Softsign HardSwish Elu LeakyRelu Clip Cast
Add Sub Mul Div Pow Mod Min Max Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Where
ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL2 ReduceLogSumExp ArgMax ArgMin
CumSum Softmax LogSoftmax LayerNormalization RMSNormalization BatchNormalization
GroupNormalization QuantizeLinear DequantizeLinear
Gather GatherElements TopK Transpose Concat Slice Pad Reshape Expand Tile
"""
_BY_SHAPE: Final = frozenset(_BY_SHAPE_TEXT.split())
RECURRENT: Final = frozenset({"RNN", "GRU", "LSTM"})
# A constant that steers is a few integers; a larger one is data, of which the shape will do.
_STEERING_BYTES: Final = 1024


class KernelShapes:
    """A node of the main graph; the only one where none is named."""

    def __init__(self, model: ModelProto, node: NodeProto | None = None) -> None:
        self._node = model.graph.node[0] if node is None else node
        self._opsets = list(model.opset_import)
        self._ir = model.ir_version
        taken = set(self._node.input)
        weights = [tensor for tensor in model.graph.initializer if tensor.name in taken]
        self._constants = {
            tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in weights
        }
        domain = self._node.domain in ("", "ai.onnx")
        # ONNX infers nothing of its result, which is as its first operand.
        self._as_first = self._node.op_type == "GroupNormalization"
        self._known = domain and self._node.op_type in _BY_SHAPE and not model.functions
        self._steering = [
            tensor
            for tensor in weights
            if tensor.ByteSize() <= _STEERING_BYTES and not is_apart(tensor)
        ]

    def execution(self, inputs: Mapping[str, Typed]) -> Executed | None:
        """The node with the shapes of a launch; None where they do not say it all."""
        if not self._known:
            return None
        kinds = {name: (TO_ONNX[dtype], shape) for name, (dtype, shape) in inputs.items()}
        kinds = self._constants | kinds
        names = [name for name in self._node.input if name]
        if any(name not in kinds or kinds[name][0] not in FROM_ONNX for name in names):
            return None
        # A constant that is also an input is a default: the launch brought another value.
        constants = [tensor for tensor in self._steering if tensor.name not in inputs]
        typed = tuple((FROM_ONNX[kinds[name][0]], kinds[name][1]) for name in names)
        if self._node.op_type in RECURRENT:
            check_elements(self._node, [shape for _, shape in typed])
        if self._as_first:
            return Executed(self._node.name, self._node.op_type, typed, typed[:1])
        outputs = self._outputs({name: kinds[name] for name in names}, constants)
        if outputs is None:
            return None
        return Executed(self._node.name, self._node.op_type, typed, outputs)

    def _outputs(
        self, inputs: Mapping[str, tuple[int, tuple[int, ...]]], constants: Sequence[TensorProto]
    ) -> tuple[Typed, ...] | None:
        graph = helper.make_graph(
            [self._node],
            "one",
            [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
            [
                helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
                for name in self._node.output
                if name
            ],
            [tensor for tensor in constants if tensor.name in inputs],
        )
        made = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir)
        try:
            found = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            return None  # the kernel itself says what does not fit
        outputs = []
        for value in found.graph.output:
            tensor = value.type.tensor_type
            dims = tensor.shape.dim
            if tensor.elem_type not in FROM_ONNX or not tensor.HasField("shape"):
                return None
            if not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
                return None
            outputs.append((FROM_ONNX[tensor.elem_type], tuple(dim.dim_value for dim in dims)))
        return tuple(outputs)


def check_elements(node: NodeProto, taken: Sequence[Shape]) -> None:
    """Raise InvalidArgument for a recurrence over nothing: ORT's kernels abort the process.

    ``taken`` are the shapes of its operands.
    """
    if any(0 in shape for shape in taken):
        listed = ", ".join(str(list(shape)) for shape in taken)
        raise InvalidArgument(
            f"node {node.name!r} ({node.op_type}): an operand has no elements: {listed}",
            hint="give at least one step and one sequence",
        )
