"""Kernels over nothing, stopped before they run.

On operands without elements some kernels of ONNX Runtime 1.32 abort the process, divide by zero,
never end, or give back memory that they never wrote. Within a branch or a loop, and behind what
picks elements by value, no shape is known before it is there. So each of them takes the operand in
question through a few nodes that look at its dimensions, and fail as any node fails::

    sizes = Shape(x);  none = ReduceProd(sizes) == 0;  x' = Reshape(x, sizes + [0][none])

``[0][1]`` is out of bounds. Where shapes are known, nothing of this is put in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from host_daemon.compiler import depths, divisions, graphs, joins
from host_daemon.compiler.dimensions import Dimensions, Dims, forget_claims, opset_of
from host_daemon.compiler.steps import PREFIX, Steps
from vaccel.errors import InvalidArgument, InvalidModel, VaccelError

__all__ = ["PREFIX", "guarded", "named"]


@dataclass(frozen=True, slots=True)
class Check:
    """That an operand has elements along some axes: those from ``first`` on, or ``axes``."""

    operand: int
    first: int = 0
    axes: tuple[int, ...] = ()

    def of(self, dims: Dims) -> list[int | None]:
        """The dimensions in question."""
        if not self.axes:
            return list(dims[self.first :])
        return [dims[axis] for axis in self.axes if -len(dims) <= axis < len(dims)]


_ALL: Final = (Check(0),)
_WINDOW: Final = (Check(1, 2),)
_DEPTH: Final = (Check(0, axes=(-1,)),)
# Aborts, division by zero.
_RECURRENT: Final = dict.fromkeys(("RNN", "GRU", "LSTM"), _ALL)
_CONVOLUTIONS: Final = {
    # Never end with an empty window, as Conv.
    "FusedConv": _WINDOW,
    "NhwcFusedConv": _WINDOW,
    # Give memory as it was: also where there are no channels.
    "ConvInteger": (Check(1, 1),),
    "QLinearConv": (Check(3, 1),),
}
# With a depth of 0 they give memory as it was.
_PRODUCTS: Final = dict.fromkeys(
    (
        "MatMulInteger",
        "QLinearMatMul",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QAttention",
    ),
    _DEPTH,
)
_CHECKS: Final[Mapping[str, tuple[Check, ...]]] = {
    **_RECURRENT,
    **_CONVOLUTIONS,
    **_PRODUCTS,
    **dict.fromkeys(("DynamicQuantizeLSTM", "GroupQueryAttention", "SparseAttention"), _ALL),
    **dict.fromkeys(
        ("MultiHeadAttention", "DecoderMaskedMultiHeadAttention"),
        (*_DEPTH, Check(2, axes=(-1,))),
    ),
}
# What moves elements, and past which ONNX Runtime may move a dequantisation.
_MOVES_TEXT: Final = """
Concat DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND Identity MaxPool Pad Relu
Reshape Resize Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Where
"""
_MOVES: Final = frozenset(_MOVES_TEXT.split())
_STOPPED: Final = re.compile(rf"{PREFIX}(.+?)//(\w+)\.\w+")


def guarded(model: ModelProto) -> ModelProto:
    """The model with guards where they are needed; itself where they are not."""
    known = Dimensions(model)
    work = _Work(known, model)
    plans = {node.name: plan for node in graphs.nodes(model.graph) if (plan := work.plan(node))}
    if not plans:
        return model
    made = ModelProto()
    made.CopyFrom(model)
    # ONNX Runtime would believe them, and take the guards out as constants.
    forget_claims(made, ranks=False)
    for at in list(graphs.graphs(made.graph))[::-1]:
        _guard(at.graph, plans)
    work.joins.look(made.graph)
    return made


def named(fault: VaccelError) -> VaccelError:
    """An error in its own words where a guard raised it."""
    # The innermost comes last.
    *_, found = (None, *_STOPPED.finditer(fault.message))
    if found is None:
        return fault
    kind = InvalidModel if isinstance(fault, InvalidModel) else InvalidArgument
    if found[2] == joins.LOOK:
        return kind(
            f"node {found[1]!r} joins tensors that differ in other dimensions than its axis",
            hint="an empty tensor too must be of the same shape but for that axis",
        )
    return kind(
        f"node {found[1]!r} runs over nothing: an operand has no elements",
        hint="give at least one step, one sequence, one channel, and one element to sum over",
    )


Plan = Callable[[NodeProto], Iterator[NodeProto]]


class _Work:
    """What is to be done for the nodes of one model."""

    def __init__(self, known: Dimensions, model: ModelProto) -> None:
        self._known = known
        self._opset = opset_of(model)
        self.joins = joins.Joins(model.graph, known, self._opset)
        nodes = list(graphs.nodes(model.graph))
        self._quantised = any(node.op_type == "DequantizeLinear" for node in nodes)
        self._makers = {name: node for node in nodes for name in node.output if self._quantised}
        self._special: dict[str, Callable[[NodeProto], tuple[Check, ...]]] = {
            **dict.fromkeys(("MatMul", "Gemm", "QGemm"), self._product),
            "Conv": self._convolution,
            "ConvTranspose": self._transposed,
            "Unique": self._unique,
            "Scan": self._scan,
            "Attention": self._attention,
        }

    def plan(self, node: NodeProto) -> Plan | None:
        """How a node is written anew; None where it stays."""
        if node.op_type == "Div":
            return divisions.plan(node, self._known)
        if node.op_type in joins.OPS:
            return self.joins.plan(node)
        checks = [check for check in self._checks(node) if self._may_be_empty(node, check)]
        if not checks or self._has_depth(node):
            return None
        if node.op_type in depths.OPS and node.domain in ("", "ai.onnx"):
            return depths.safe
        return lambda n: _checked(n, checks, self._opset)

    def _checks(self, node: NodeProto) -> tuple[Check, ...]:
        special = self._special.get(node.op_type)
        return special(node) if special else _CHECKS.get(node.op_type, ())

    def _product(self, node: NodeProto) -> tuple[Check, ...]:
        if node.op_type != "QGemm" and not self._of_integers(node):
            return ()
        return (Check(0, axes=(-2 if _integer(node, "transA") else -1,)),)

    def _convolution(self, node: NodeProto) -> tuple[Check, ...]:
        return (Check(1, 1),) if self._of_integers(node) else _WINDOW

    def _of_integers(self, node: NodeProto) -> bool:
        """Whether ONNX Runtime may make a product of integers of one: an operand was dequantised,
        and since then moved at most.
        """
        pending = list(node.input) if self._quantised else []
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            maker = self._makers.get(name)
            if maker is None or name in seen:
                continue
            seen.add(name)
            if maker.op_type == "DequantizeLinear":
                return True
            if maker.op_type in _MOVES:
                pending += maker.input
        return False

    def _transposed(self, node: NodeProto) -> tuple[Check, ...]:
        """One over volumes crashes where an image is empty."""
        dims = self._known.of(node.input[0])
        return (Check(0, 2),) if dims is None or len(dims) > 4 else ()

    def _unique(self, node: NodeProto) -> tuple[Check, ...]:
        """Slices without elements are compared, which aborts."""
        if not any(a.name == "axis" for a in node.attribute):
            return ()
        dims = self._known.of(node.input[0])
        if dims is None:
            return _ALL
        axis = _integer(node, "axis") % max(1, len(dims))
        axes = tuple(each for each in range(len(dims)) if each != axis)
        return (Check(0, axes=axes),) if axes else ()

    def _scan(self, node: NodeProto) -> tuple[Check, ...]:
        """An old one of no steps leaves its last state unwritten."""
        count = _integer(node, "num_scan_inputs") if self._opset < 9 else 0
        return (Check(len(node.input) - count, axes=(1,)),) if count else ()

    def _attention(self, node: NodeProto) -> tuple[Check, ...]:
        """With a window ORT writes it out, and joins the past as Concat does."""
        windowed = any(a.name.endswith("_window_size") for a in node.attribute)
        if not windowed or not _operand(node, 4):
            return ()
        past = tuple(Check(operand, axes=(0, 1, 3)) for operand in (4, 5))
        return (Check(1), Check(2), *past)

    def _may_be_empty(self, node: NodeProto, check: Check) -> bool:
        name = _operand(node, check.operand)
        dims = self._known.of(name) if name else ()
        return dims is None or any(not dim for dim in check.of(dims))

    def _has_depth(self, node: NodeProto) -> bool:
        """Whether a product's right side, often a constant, says that its depth is not 0."""
        if node.op_type not in ("MatMul", "Gemm", "QGemm", *_PRODUCTS):
            return False
        place = {"QLinearMatMul": 3, "QGemm": 3}.get(node.op_type, 1)
        name = _operand(node, place)
        dims = self._known.of(name) if name else None
        if not dims:
            return False
        return bool(dims[-1 if _integer(node, "transB") else max(-2, -len(dims))])


def _operand(node: NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _integer(node: NodeProto, name: str) -> int:
    return next((a.i for a in node.attribute if a.name == name), 0)


def _guard(graph: GraphProto, plans: Mapping[str, Plan]) -> None:
    if not any(node.name in plans for node in graph.node):
        return
    made: list[NodeProto] = []
    for node in graph.node:
        plan = plans.get(node.name)
        made += plan(node) if plan else (node,)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(kept)


def _checked(node: NodeProto, checks: list[Check], opset: int) -> Iterator[NodeProto]:
    """The nodes before a guarded one, which from now on takes what they give."""
    for check in checks:
        if not _operand(node, check.operand):
            continue
        steps = Steps(node, str(check.operand))
        x = node.input[check.operand]
        sizes = steps.add("Shape", "sizes", x)
        product = steps.add("ReduceProd", "all", _picked(steps, sizes, check, opset), keepdims=0)
        some = steps.add("Cast", "some", product, to=TensorProto.BOOL)
        node.input[check.operand] = steps.stopping(x, sizes, some)
        yield from steps.made
    yield node


def _picked(steps: Steps, sizes: str, check: Check, opset: int) -> str:
    """The sizes along the axes in question."""
    if check.axes:
        axes = steps.constant("axes", np.array(check.axes, np.int64))
        return steps.add("Gather", "picked", sizes, axes)
    if not check.first:
        return sizes
    most = np.iinfo(np.int32).max
    if opset < 10:
        return steps.add("Slice", "picked", sizes, starts=[check.first], ends=[most])
    first = steps.constant("first", np.array([check.first], np.int64))
    return steps.add(
        "Slice", "picked", sizes, first, steps.constant("end", np.array([most], np.int64))
    )
