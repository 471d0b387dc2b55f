"""What is alive while each node of a graph runs: bytes of values whose shapes are known.

A container holds, beside what it gives, the most that its graph holds at once: of an ``If`` the
larger branch, unless its condition is known; of a ``Loop`` or a ``Scan`` one turn, with the state
that came in, and what is stacked. A node that is fused into a product makes nothing between: the
product takes what both take, and gives what the last of them gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto

from host_daemon.compiler import graphs
from host_daemon.compiler.bodies import Scope, turns
from host_daemon.compiler.inference import Inferred
from host_daemon.compiler.segments import captures, needs

# What a Loop hands to its body before its state: the turn and the condition.
_TURN_VALUES: Final = (Inferred(TensorProto.INT64, ()), Inferred(TensorProto.BOOL, ()))
_TURN: Final = len(_TURN_VALUES)


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that are alive while a node runs, and the largest value among them. ``within`` is the
    node of the main graph whose graphs hold it; empty for a node of the main graph itself.
    """

    node: str
    live_bytes: int
    largest: str
    largest_bytes: int
    within: str = ""

    @property
    def where(self) -> str:
        """The node, and what it is within."""
        return f"{self.node} in {self.within}" if self.within else self.node


class Groups(Protocol):
    """Which nodes of a graph are fused: by index of a product, those of the nodes behind it."""

    def __call__(self, graph: GraphProto, scope: Scope) -> Mapping[int, Sequence[int]]:
        """Those of one graph whose values are known as far as its scope says."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """A node as memory sees it."""

    node: NodeProto
    takes: tuple[str, ...]
    gives: tuple[str, ...]


class Walk:
    """Over a graph and all that is nested in it; ``unknown`` counts values of no known size."""

    def __init__(self, groups: Groups) -> None:
        self.unknown = 0
        self._groups = groups

    def graph(self, graph: GraphProto, scope: Scope, inputs: Mapping[str, int]) -> list[Held]:
        """What is held at each node, beside what the graphs around hold; ``inputs`` are bytes."""
        moments = _moments(graph, self._groups(graph, scope))
        last = _last_uses(graph, moments)
        alive = dict(inputs)
        total = sum(alive.values())
        held: list[Held] = []
        for index, moment in enumerate(moments):
            node, dying = moment.node, last.get(index, ())
            inner = self._inner(node, scope, alive.keys() & dying) if node.attribute else None
            during = total
            for name in moment.gives:
                size = scope.nbytes(name)
                self.unknown += size is None
                alive[name] = size or 0
                total += alive[name]
            there = [name for name in (*moment.takes, *moment.gives) if name in alive]
            largest = max(there, key=alive.__getitem__, default="")
            at = Held(graphs.title(node), total, largest, alive.get(largest, 0))
            if inner is not None and inner.live_bytes + during > total:
                at = _larger(inner, at, inner.live_bytes + during)
            held.append(at)
            for name in dying:
                total -= alive.pop(name, 0)
        return held

    def _inner(self, node: NodeProto, scope: Scope, dying: set[str]) -> Held | None:
        """The most that a node's graphs hold at once, beside what it takes."""
        if node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type == "Loop":
            return self._loop(node, scope, dying)
        if node.op_type == "Scan":
            return self._scan(node, scope, dying)
        peaks = (
            _peak(self.graph(body, scope.within(body, {}), {})) for body in _bodies(node, scope)
        )
        return max(peaks, key=lambda each: each.live_bytes, default=None)

    def _loop(self, node: NodeProto, scope: Scope, dying: set[str]) -> Held | None:
        body = next(graphs.subgraphs(node), None)
        if body is None or not body.output:
            return None
        count = turns(node, body, scope)
        states = list(node.input[_TURN:])
        names = [value.name for value in body.input]
        entry = dict(zip(names, _TURN_VALUES, strict=False))
        inner = scope.within(body, entry | _entry(names[_TURN:], states, scope))
        results = [value.name for value in body.output[1:]]
        _settle(node, states, results, inner, scope)
        for name, one in zip(node.output[len(states) :], results[len(states) :], strict=False):
            made = inner.find(one)
            if count is not None and made is not None and made.shape is not None:
                scope.known[name] = Inferred(made.kind, (count, *made.shape))
        if count == 0:
            return None
        apart = _apart(states, names[_TURN:], dying, body) if count != 1 else []
        inputs = {name: inner.nbytes(name) or 0 for name in (*names[:_TURN], *apart)}
        stacked = node.output[len(states) :]
        return self._turn(body, inner, inputs, sum(scope.nbytes(n) or 0 for n in stacked if n))

    def _scan(self, node: NodeProto, scope: Scope, dying: set[str]) -> Held | None:
        """Of opset 9 or newer; an older one has a batch, and nothing is known of its body."""
        body = next(graphs.subgraphs(node), None)
        if body is None or len(body.input) != len(node.input):
            return None
        names = [value.name for value in body.input]
        sliced = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        states = list(node.input[: len(names) - sliced])
        axes = next((list(a.ints) for a in node.attribute if a.name == "scan_input_axes"), [])
        entry = _entry(names, states, scope)
        for at, name in enumerate(node.input[len(states) :]):
            each = scope.find(name)
            if each is not None:
                axis = axes[at] if at < len(axes) else 0
                entry[names[len(states) + at]] = Inferred(each.kind, _without(each.shape, axis))
        inner = scope.within(body, entry)
        _settle(node, states, [value.name for value in body.output], inner, scope)
        apart = _apart(states, names, dying, body)
        inputs = {name: inner.nbytes(name) or 0 for name in (*apart, *names[len(states) :])}
        stacked = node.output[len(states) :]
        return self._turn(body, inner, inputs, sum(scope.nbytes(n) or 0 for n in stacked if n))

    def _turn(
        self, body: GraphProto, inner: Scope, inputs: Mapping[str, int], stacked: int
    ) -> Held:
        peak = _peak(self.graph(body, inner, inputs))
        return Held(peak.node, peak.live_bytes + stacked, peak.largest, peak.largest_bytes)


def _larger(inner: Held, outer: Held, total: int) -> Held:
    """What is held at a node within another."""
    largest = max(inner, outer, key=lambda each: each.largest_bytes)
    within = outer.node if inner.node else ""
    node = inner.node or outer.node
    return Held(node, total, largest.largest, largest.largest_bytes, within)


def _peak(held: Sequence[Held]) -> Held:
    return max(held, key=lambda each: each.live_bytes, default=Held("", 0, "", 0))


def _bodies(node: NodeProto, scope: Scope) -> Iterator[GraphProto]:
    """The graphs of which a node may run one."""
    condition = scope.constant(node.input[0]) if node.op_type == "If" and node.input else None
    taken = "" if condition is None else "then_branch" if np.all(condition) else "else_branch"
    for attribute in node.attribute:
        if attribute.HasField("g") and taken in ("", attribute.name):
            yield attribute.g


def _entry(names: Sequence[str], given: Sequence[str], scope: Scope) -> dict[str, Inferred]:
    """What a body's inputs are in its first turn, as far as it is known."""
    found = ((name, scope.find(value)) for name, value in zip(names, given, strict=False))
    return {name: each for name, each in found if each is not None}


def _settle(
    node: NodeProto, states: Sequence[str], results: Sequence[str], inner: Scope, scope: Scope
) -> None:
    """A state that leaves a turn as it came has that shape in the end."""
    for name, state, result in zip(node.output, states, results, strict=False):
        each = scope.find(state)
        if name and each is not None and each.shape is not None and inner.find(result) == each:
            scope.known[name] = each


def _apart(
    states: Sequence[str], names: Sequence[str], dying: set[str], body: GraphProto
) -> list[str]:
    """Inputs of a body for states that need room beside what a loop begins with: it is wanted yet.

    Else the state takes its place.
    """
    kept = set(captures(body))
    free = {state for state in states if state in dying and state not in kept}
    found = []
    for state, name in zip(states, names, strict=False):
        if state in free:
            free.remove(state)
        else:
            found.append(name)
    return found


def _without(shape: tuple[int, ...] | None, axis: int) -> tuple[int, ...] | None:
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    at = axis % len(shape)
    return shape[:at] + shape[at + 1 :]


def _moment(node: NodeProto) -> _Moment:
    if node.op_type == "Constant" and any(each.HasField("t") for each in node.attribute):
        return _Moment(node, (), ())  # it counts with the weights
    takes = needs(node) if node.attribute else filter(None, node.input)
    return _Moment(node, tuple(takes), tuple(filter(None, node.output)))


def _moments(graph: GraphProto, groups: Mapping[int, Sequence[int]]) -> list[_Moment]:
    moments = [_moment(node) for node in graph.node]
    for product, behind in groups.items():
        group = [moments[index] for index in (product, *behind)]
        between = {name for each in group[:-1] for name in each.gives}
        takes = dict.fromkeys(name for each in group for name in each.takes if name not in between)
        for index in behind:
            moments[index] = _Moment(moments[index].node, (), ())
        moments[product] = _Moment(group[0].node, tuple(takes), group[-1].gives)
    return moments


def _last_uses(graph: GraphProto, moments: Sequence[_Moment]) -> dict[int, list[str]]:
    """Values by the index of the node after which nobody takes them."""
    last: dict[str, int] = {}
    for index, moment in enumerate(moments):
        for name in moment.gives:
            last[name] = index
        for name in moment.takes:
            last[name] = index
    for value in graph.output:
        last.pop(value.name, None)
    by_node: dict[int, list[str]] = {}
    for name, index in last.items():
        by_node.setdefault(index, []).append(name)
    return by_node
