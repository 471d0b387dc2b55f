"""Joins of tensors, looked at behind: whether what they gave is all written.

An empty tensor that differs from others in other dimensions than the axis makes ``Concat`` of ONNX
Runtime 1.32 leave holes, with memory as it was. Whether a join has them, the shapes of its operands
say, and what reads these stands beside it: passes over the graph (transposes that cancel out,
fusions) see the join as it was, and a cache that grows in each launch is not moved once more. Only
where some size is 0 is more looked at than sizes. A result of the graph, or of a branch, or
a state of a loop, in which nobody is interested, keeps all that alive. Within a ``Scan``, and for
wide integers, which may be sizes of what comes next, a join's result itself goes through what looks
at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper

from host_daemon.compiler import graphs
from host_daemon.compiler.dimensions import Dimensions, Symbols
from host_daemon.compiler.steps import Steps

# Which operand of a node that joins tensors is the first of them, and how many each takes.
_JOINS: Final = {"Concat": (0, 1), "QLinearConcat": (2, 3)}
_FROM_SEQUENCE: Final = "ConcatFromSequence"
OPS: Final = frozenset({*_JOINS, _FROM_SEQUENCE})
# What a step of a join that looks at it is called.
LOOK: Final = "join"
# Elements that are no sizes.
_DATA: Final = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT8,
        TensorProto.UINT8,
    }
)
# So many joins of a model at most are looked at from beside: each takes a millisecond of its load.
_MOST: Final = 256
# The opsets since which sizes can be written over.
_SCATTERS: Final = 9
_SCATTERS_ELEMENTS: Final = 11
Plan = Callable[[NodeProto], Iterator[NodeProto]]


class Joins:
    """Those of one model that may leave holes."""

    def __init__(self, graph: GraphProto, known: Dimensions, opset: int) -> None:
        self._known = known
        self._opset = opset
        self._reached = _reached(graph) if opset >= _SCATTERS else frozenset()
        self._beside: set[str] = set()

    def plan(self, node: NodeProto) -> Plan | None:
        """How a join is written anew; None where it stays."""
        if node.op_type == _FROM_SEQUENCE:
            return _through
        all_dims = [self._known.symbolic(name) for name in _operands(node)]
        if not _may_leave_holes(node, all_dims):
            return None
        kinds = {self._known.kind(name) for name in _operands(node)} & _DATA
        if node.name not in self._reached or not kinds or len(self._beside) >= _MOST:
            return _through
        self._beside.add(node.name)
        return _measured

    def look(self, graph: GraphProto) -> None:
        """Put in what looks at the joins of a graph and of its branches, as one more result."""
        verdict = self._look(graph)
        if verdict:
            graph.output.append(_verdict(verdict))

    def _look(self, graph: GraphProto) -> str:
        """What is 0 where no join of a graph left holes; "" where it has none."""
        before: list[NodeProto] = []
        for node in graph.node:
            if node.op_type == "If":
                self._look_in_branches(node)
            elif node.op_type == "Loop" and _is_complete(node):
                before += self._look_in_turns(node)
        joins = [node for node in graph.node if node.name in self._beside]
        steps = Steps(joins[0] if joins else NodeProto(), "joins")
        verdict = self._judged(steps, joins) if joins else ""
        if before or joins:
            nodes = [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
            del graph.node[:]
            graph.node.extend([*before, *nodes, *steps.made])
        return verdict

    def _look_in_branches(self, node: NodeProto) -> None:
        branches = list(graphs.subgraphs(node))
        verdicts = [self._look(branch) for branch in branches]
        if not any(verdicts):
            return
        for place, (branch, found) in enumerate(zip(branches, verdicts, strict=True)):
            steps = Steps(node, f"branch{place}")
            branch.output.append(_verdict(found or _nothing(steps)))
            branch.node.extend(steps.made)
        node.output.append(Steps(node, "branches").name("verdict"))

    def _look_in_turns(self, node: NodeProto) -> list[NodeProto]:
        """Each turn's verdict is one more state of the loop, that begins as nothing."""
        body = next(iter(graphs.subgraphs(node)))
        verdict = self._look(body)
        if not verdict:
            return []
        steps, states = Steps(node, "turns"), len(node.input) - 2
        node.input.append(_nothing(steps))
        body.input.append(_verdict(steps.name("last")))
        body.output.insert(1 + states, _verdict(verdict))
        node.output.insert(states, steps.name("verdict"))
        return steps.made

    def _judged(self, steps: Steps, joins: Sequence[NodeProto]) -> str:
        """Look closely where an operand of any join is empty."""
        sizes = [name for join in joins for name in _sizes(join)]
        least = steps.add("ReduceMin", "least", steps.add("Concat", "all", *sizes, axis=0))
        none = steps.add("Equal", "none", least, steps.constant("zero", np.zeros(1, np.int64)))
        # A condition of one element, whatever its rank, is one.
        closely, passed = Steps(joins[0], "closely"), Steps(joins[0], "passed")
        total = ""
        for join in joins:
            own = Steps(join, LOOK)
            stop = _stop(own, join, self._opset)
            closely.made += own.made
            name = f"sum_{len(closely.made)}"
            total = closely.add("Add", name, total, stop) if total else stop
        branches = [
            helper.make_graph(each.made, "verdict", [], [_verdict(name)])
            for each, name in ((closely, total), (passed, _nothing(passed)))
        ]
        return steps.add("If", "verdict", none, then_branch=branches[0], else_branch=branches[1])


def _measured(node: NodeProto) -> Iterator[NodeProto]:
    """A join, and the sizes of its operands."""
    steps = Steps(node, "measure")
    for name, operand in zip(_sizes(node), _operands(node), strict=True):
        # A transpose passes ``Shape``, and does not pass ``Size``.
        steps.add("Shape", f"of{len(steps.made)}", operand, result=name)
    yield node
    yield from steps.made


def _sizes(node: NodeProto) -> list[str]:
    """What the sizes of a join's operands are called."""
    steps = Steps(node, "measure")
    return [steps.name(f"sizes{index}") for index in range(len(_operands(node)))]


def _stop(steps: Steps, node: NodeProto, opset: int) -> str:
    """What fails where a join has more elements than its operands; else 0.

    All but the axis it has of its first operand with elements, or of the first where all are empty.
    """
    along = steps.constant("axis", np.array([_axis(node)], np.int64))
    one = steps.constant("one", np.ones(1, np.int64))
    scatter = "ScatterElements" if opset >= _SCATTERS_ELEMENTS else "Scatter"
    lengths, faces = [], []
    for index, sizes in enumerate(_sizes(node)):
        lengths.append(steps.add("Gather", f"length{index}", sizes, along))
        kept = steps.add(scatter, f"kept{index}", sizes, along, one)
        faces.append(steps.add("ReduceProd", f"face{index}", kept))
    length = steps.add("Concat", "lengths", *lengths, axis=0)
    face = steps.add("Concat", "faces", *faces, axis=0)
    elements = steps.add("Mul", "elements", length, face)
    some = steps.add("Cast", "some", elements, to=TensorProto.BOOL)
    first = steps.add("ArgMax", "first", steps.add("Cast", "index", some, to=TensorProto.FLOAT))
    all_lengths = steps.add("ReduceSum", "all_lengths", length)
    result = steps.add("Mul", "result", all_lengths, steps.add("Gather", "face", face, first))
    holes = steps.add("Sub", "holes", result, steps.add("ReduceSum", "given", elements))
    # Twice, since -1 is an index.
    return steps.stop(steps.add("Add", "twice", holes, holes))


def _nothing(steps: Steps) -> str:
    return steps.constant("nothing", np.zeros(1, np.int64))


def _verdict(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, (1,))


def _reached(graph: GraphProto) -> frozenset[str]:
    """Names of nodes of the main graph, of branches, and of turns of a Loop."""
    found: set[str] = set()
    pending = [graph]
    while pending:
        for node in pending.pop().node:
            found.add(node.name)
            if node.op_type == "If" or (node.op_type == "Loop" and _is_complete(node)):
                pending += graphs.subgraphs(node)
    return frozenset(found)


def _is_complete(loop: NodeProto) -> bool:
    """Whether a loop has all that its body takes and gives."""
    body = next(iter(graphs.subgraphs(loop)), None)
    if body is None or len(loop.input) < 2:
        return False
    operands, results = len(loop.input), len(loop.output)
    return len(body.input) == operands and len(body.output) == results + 1 >= operands - 1


def _operands(node: NodeProto) -> Sequence[str]:
    first, each = _JOINS[node.op_type]
    return node.input[first::each]


def _axis(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), 0)


def _may_leave_holes(node: NodeProto, all_dims: Sequence[Symbols | None]) -> bool:
    if len(all_dims) < 2 or any(dims is not None and len(dims) < 2 for dims in all_dims):
        return False
    others = {_without(dims, _axis(node)) for dims in all_dims}
    other = others.pop()
    return bool(others) or other is None or None in other


def _without(dims: Symbols | None, axis: int) -> Symbols | None:
    if dims is None or not -len(dims) <= axis < len(dims):
        return None
    axis %= len(dims)
    return (*dims[:axis], *dims[axis + 1 :])


def _through(node: NodeProto) -> Iterator[NodeProto]:
    """A node that joins tensors, whose result goes through what looks for holes."""
    steps = Steps(node, LOOK)
    result, node.output[0] = node.output[0], steps.name("y")
    if node.op_type in _JOINS:
        total = ""
        for index, name in enumerate(_operands(node)):
            size = steps.add("Size", f"size{index}", name)
            total = steps.add("Add", f"sum{index}", total, size) if total else size
    else:
        total = _elements(steps, node.input[0])
    have = steps.add("Size", "size", node.output[0])
    filled = steps.add("Equal", "filled", total, have)
    sizes = steps.add("Shape", "sizes", node.output[0])
    steps.stopping(node.output[0], sizes, filled, result)
    yield node
    yield from steps.made


def _elements(steps: Steps, sequence: str) -> str:
    """How many elements the tensors of a sequence have: a loop over it."""
    names = ("turn", "go", "so_far", "on", "sum_so_far")
    turn, go, before, on, after = (steps.name(each) for each in names)
    body = Steps(NodeProto(), steps.name("body"))
    item = body.add("SequenceAt", "item", sequence, turn)
    body.add("Add", "sum", before, body.add("Size", "size", item), result=after)
    body.add("Identity", "go", go, result=on)
    whole, truth = TensorProto.INT64, TensorProto.BOOL
    graph = helper.make_graph(
        body.made,
        "elements",
        [_scalar(turn, whole), _scalar(go, truth), _scalar(before, whole)],
        [_scalar(on, truth), _scalar(after, whole)],
    )
    count = steps.add("SequenceLength", "length", sequence)
    zero = steps.constant("none_yet", np.array(0, np.int64))
    return steps.add("Loop", "elements", count, "", zero, body=graph)


def _scalar(name: str, kind: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ())
