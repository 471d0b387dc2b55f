"""Nodes that ONNX Runtime has a kernel for which differs from ONNX: the reference computes them.

Each entry was found by onnx 1.23.2's own suite on ONNX Runtime 1.32, and says how they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import onnx
from onnx import NodeProto, TensorProto

from host_daemon.compiler import graphs

Kinds = Mapping[str, int]


def _present(node: NodeProto, index: int) -> bool:
    return len(node.input) > index and bool(node.input[index])


def _text(node: NodeProto, name: str) -> str:
    for attribute in node.attribute:
        if attribute.name == name:
            value = onnx.helper.get_attribute_value(attribute)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def _attention(node: NodeProto, kinds: Kinds) -> bool:
    # The scores come out before the causal mask; lengths of padding are taken for one head only.
    return (len(node.output) > 3 and bool(node.output[3])) or _present(node, 6)


def _transform(node: NodeProto, kinds: Kinds) -> bool:
    # Sums of float32 in order of the signal: errors of 1e-4, where a fast transform has 1e-6.
    return True


def _unpool(node: NodeProto, kinds: Kinds) -> bool:
    # With a shape for the result, indices are still of the smaller one.
    return _present(node, 2)


def _dropout(node: NodeProto, kinds: Kinds) -> bool:
    # In training, a seed draws other numbers than the reference's.
    return _present(node, 2)


def _resize(node: NodeProto, kinds: Kinds) -> bool:
    # With aligned corners ORT divides by the result's length, ONNX by length times scale.
    aligned = _text(node, "coordinate_transformation_mode") == "align_corners"
    return aligned and _present(node, 2)


def _extreme(node: NodeProto, kinds: Kinds) -> bool:
    # An empty set of booleans has an extreme in ONNX, and none in ORT.
    return kinds.get(node.input[0] if node.input else "") == TensorProto.BOOL


def _training(node: NodeProto, kinds: Kinds) -> bool:
    # Running means that nobody takes are written over the weights that they are computed from,
    # where these are one tensor: the next launch has others.
    return any(a.name == "training_mode" and a.i for a in node.attribute)


_DEVIATIONS: Final[Mapping[str, Callable[[NodeProto, Kinds], bool]]] = {
    "Attention": _attention,
    "BatchNormalization": _training,
    "DFT": _transform,
    "STFT": _transform,
    "Dropout": _dropout,
    "MaxUnpool": _unpool,
    "ReduceMax": _extreme,
    "ReduceMin": _extreme,
    "Resize": _resize,
}


# Of these the numbers are others by more than rounding, or change from launch to launch: worth it
# to give all of a branch or a loop to the reference, which is slow. Types are not known in there.
_NESTED: Final = frozenset({"Attention", "BatchNormalization", "MaxUnpool", "Resize"})


def known(node: NodeProto) -> bool:
    """Whether there are kernels of such a node that deviate."""
    return node.op_type in _DEVIATIONS


def within(node: NodeProto) -> bool:
    """Whether a node in the graphs of this one is computed wrongly by ORT."""
    return any(
        inner.op_type in _NESTED and deviates(inner, {})
        for body in graphs.subgraphs(node)
        for inner in graphs.nodes(body)
    )


def deviates(node: NodeProto, kinds: Kinds) -> bool:
    """Whether ORT's kernel is not ONNX's. ``kinds`` are element types of values, where known."""
    check = _DEVIATIONS.get(node.op_type)
    return check is not None and node.domain in ("", "ai.onnx") and check(node, kinds)
