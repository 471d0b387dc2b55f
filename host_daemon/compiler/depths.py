"""Integer products whose depth may be 0.

ONNX says that each element is then a sum over nothing: 0. ONNX Runtime 1.32 gives memory as it was.
So where a depth is not known, a product of float32 over the same nothing takes its place, which is
right there, and of the right shape::

    y = MatMul(float(a), float(b)) if Shape(a)[-1] == 0 else MatMulInteger(a, b)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from host_daemon.compiler.steps import Steps

# Where its right operand is, what its result is of, by operator.
_RIGHT: Final = {"MatMulInteger": 1, "QLinearMatMul": 3}
OPS: Final = frozenset(_RIGHT)


def safe(node: NodeProto) -> Iterator[NodeProto]:
    """The nodes in place of such a product, which is within one of them."""
    steps, zeros = Steps(node, "depth"), Steps(node, "zeros")
    last = steps.constant("last", np.array(-1, np.int64))
    depth = steps.add("Gather", "depth", steps.add("Shape", "sizes", node.input[0]), last)
    none = steps.add("Equal", "none", depth, steps.constant("zero", np.array(0, np.int64)))
    left = zeros.add("Cast", "left", node.input[0], to=TensorProto.FLOAT)
    right = zeros.add("Cast", "right", node.input[_RIGHT[node.op_type]], to=TensorProto.FLOAT)
    product = zeros.add("MatMul", "product", left, right)
    if node.op_type == "MatMulInteger":
        given = zeros.add("Cast", "given", product, to=TensorProto.INT32)
    else:
        given = zeros.add("QuantizeLinear", "given", product, *node.input[6:8])
    result = node.output[0]
    inner = NodeProto.FromString(node.SerializeToString())
    inner.output[0] = steps.name("given")
    steps.add(
        "If",
        "chosen",
        none,
        result=result,
        then_branch=helper.make_graph(zeros.made, "zeros", [], [ValueInfoProto(name=given)]),
        else_branch=helper.make_graph(
            [inner], "product", [], [ValueInfoProto(name=inner.output[0])]
        ),
    )
    yield from steps.made
