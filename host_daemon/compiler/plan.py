"""From what a launch executes to what it costs the device."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final

from host_daemon.compiler.analysis import Analysis, NodeInfo
from host_daemon.compiler.fusion import NO_FUSIONS, Fusions, Link, fused, gathered
from host_daemon.compiler.trace import Executed, Typed
from host_daemon.core.device import ARITHMETIC, DeviceModel, NodeCost, Operation
from vaccel import bounds
from vaccel.errors import InvalidArgument
from vaccel.model import Cost, DType

Key = tuple[tuple[str, tuple[Any, ...], bytes], ...]
# Values up to this many bytes are part of the key as they are; larger ones by their hash.
_LITERAL_BYTES = 64
# Shapes of so many items are part of the key as they are.
_LITERAL_ITEMS = 64
_NO_RESIDENTS: Final[Mapping[str, str]] = MappingProxyType({})
# What devices call that part of theirs which computes what their arrays do not.
_PROCESSORS: Final = frozenset({"vector", "digital"})


@dataclass(frozen=True, slots=True)
class Plan:
    """The operations of a launch, in order, and their cost from device time 0.

    ``names`` are those of the nodes, ``costs`` what each operation costs by itself, or as a part of
    what it is fused with; ``fused`` are the products that nodes are fused into, "" for all others.
    """

    operations: tuple[Operation, ...]
    cost: Cost
    names: tuple[str, ...] = ()
    costs: tuple[NodeCost, ...] = ()
    fused: tuple[str, ...] = ()


class Plans:
    """The plans of one program, the least recently used ones forgotten. Any thread may use it."""

    def __init__(self, limit: int = bounds.PLANS_PER_PROGRAM) -> None:
        self._limit = limit
        self._plans: OrderedDict[Key, Plan] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Plan | None:
        """The plan of a key, if it is known."""
        with self._lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
            return plan

    def put(self, key: Key, plan: Plan) -> None:
        """Keep a plan."""
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > self._limit:
                self._plans.popitem(last=False)


def key_of(inputs: Mapping[str, Any], steering: frozenset[str]) -> Key:
    """What a launch's cost can depend on: every shape, and the values that steer."""
    return tuple(
        (name, _shape(value), _digest(value) if name in steering else b"")
        for name, value in sorted(inputs.items())
    )


def _shape(value: Any) -> tuple[Any, ...]:
    """A value's shape; of what contains tensors, theirs."""
    if isinstance(value, list):
        shapes: tuple[Any, ...] = tuple(_shape(each) for each in value)
        if len(shapes) > _LITERAL_ITEMS:
            # A key is kept as long as its plan.
            shapes = (len(shapes), hashlib.sha256(repr(shapes).encode()).digest())
        return ("items", *shapes)
    if isinstance(value, dict):
        return ("map", len(value))
    return ("none",) if value is None else tuple(value.shape)


def _digest(array: Any) -> bytes:
    if array is None:
        return b""
    if isinstance(array, list):
        return hashlib.sha256(b"".join(b"%d:" % len(d) + d for d in map(_digest, array))).digest()
    if isinstance(array, dict):
        return hashlib.sha256(repr(sorted(array.items())).encode()).digest()
    if array.dtype.hasobject:
        data = "\0".join(f"{len(text)}:{text}" for text in array.ravel().tolist()).encode()
    else:
        data = array.tobytes()
    if len(data) <= _LITERAL_BYTES:
        return data
    return hashlib.sha256(data).digest()


def make_plan(
    nodes: Sequence[Executed],
    analysis: Analysis,
    device: DeviceModel,
    residents: Mapping[str, str] = _NO_RESIDENTS,
    fusions: Fusions = NO_FUSIONS,
) -> Plan:
    """Lower executed nodes and add up what they cost. Raises Unsupported naming an operation.

    Constant expressions are left out: a compiler computes them once. So are containers, whose inner
    nodes are counted themselves.
    """
    known: dict[Executed, tuple[Operation, NodeCost]] = {}
    ran: list[Executed] = []
    operations: list[Operation] = []
    costs: list[NodeCost] = []
    for node in gathered(nodes, analysis, fusions):
        info = analysis.nodes.get(node.name)
        if info is not None and (info.free or _is_taken_in(info, node.name, analysis, device)):
            continue
        if node not in known:
            operation = lower(node, info, analysis, residents.get(node.name, ""))
            operation = in_its_arithmetic(operation, node.name, info, analysis, device)
            known[node] = (operation, _placed(_cost(operation, info, device), node.place))
        operation, cost = known[node]
        operations.append(operation)
        costs.append(cost)
        ran.append(node)
    heads = [""] * len(ran)
    for group, found in _fused(ran, operations, fusions, device):
        for index, cost in zip(group, found, strict=False):
            costs[index] = cost
            heads[index] = ran[group[0]].name if index != group[0] else ""
    names = tuple(node.name for node in ran)
    return Plan(tuple(operations), device.launch_cost(costs), names, tuple(costs), tuple(heads))


def _fused(
    ran: Sequence[Executed],
    operations: Sequence[Operation],
    fusions: Fusions,
    device: DeviceModel,
) -> Iterator[tuple[tuple[int, ...], Sequence[NodeCost]]]:
    """Runs of a product and of the nodes behind it, with what those cost that are fused."""
    runs: dict[str, list[int]] = {}
    if fusions:
        for index, node in enumerate(ran):
            runs.setdefault(node.name, []).append(index)
    known: dict[tuple[Executed, ...], Sequence[NodeCost]] = {}
    for product, links in fusions.items():
        turns = _turns(runs, product, links)
        for group in zip(*turns, strict=True):
            key = tuple(ran[index] for index in group)
            if key not in known:
                # A node that others compute ends the chain.
                own = takewhile(lambda each: not ran[each].place, group[1:])
                throughs = (link.through for link in links)
                behind = [(operations[at], way) for at, way in zip(own, throughs, strict=False)]
                known[key] = fused(device, operations[group[0]], behind)
            yield group, known[key]


def _turns(
    runs: Mapping[str, Sequence[int]], product: str, links: Sequence[Link]
) -> list[Sequence[int]]:
    """The runs of a product, and those of the nodes behind it: each turn of a loop runs all of them
    once. One that was written out as others is not there, and ends the chain.
    """
    found = [runs.get(product, ())]
    for link in links:
        own = runs.get(link.name, ())
        if len(own) != len(found[0]):
            break
        found.append(own)
    return found


def _cost(operation: Operation, info: NodeInfo | None, device: DeviceModel) -> NodeCost:
    try:
        return device.cost(operation)
    except InvalidArgument:
        if info is not None:
            raise
        # A node that ORT wrote came without its attributes: it counts by what it moves.
        return device.cost(Operation("Identity", operation.inputs, operation.outputs))


def _placed(cost: NodeCost, place: str) -> NodeCost:
    """What an array would compute is the array's, whoever emulates it; the rest is said apart."""
    return replace(cost, place=place) if place and cost.place in _PROCESSORS else cost


def _is_taken_in(info: NodeInfo, name: str, analysis: Analysis, device: DeviceModel) -> bool:
    """Whether quantised products take a node in that stands before or behind them."""
    products = analysis.quantised.around.get(name, frozenset())
    arithmetic = {analysis.quantised.arithmetic[product] for product in products}
    return bool(products) and arithmetic <= set(device.arithmetic)


def in_its_arithmetic(
    operation: Operation,
    name: str,
    info: NodeInfo | None,
    analysis: Analysis,
    device: DeviceModel,
) -> Operation:
    """An operation in the short arithmetic that the model means, where the device has it."""
    short = analysis.quantised.arithmetic.get(name, "")
    if info is None or ARITHMETIC in operation.attributes:
        return operation
    if short in device.arithmetic:
        return _as_stored(operation, short, name in analysis.quantised.requantised)
    return operation


def _as_stored(operation: Operation, short: str, requantised: bool) -> Operation:
    """A product of operands as they lie in memory; its result too, where it is quantised."""
    if short not in ("int8", "int4"):
        return replace(operation, attributes={**operation.attributes, ARITHMETIC: short})
    inputs = [spec and (DType.INT8, spec[1]) for spec in operation.inputs[:2]]
    outputs = [spec and (DType.INT8, spec[1]) for spec in operation.outputs]
    return replace(
        operation,
        inputs=(*inputs, *operation.inputs[2:]),
        outputs=tuple(outputs) if requantised else operation.outputs,
        attributes={**operation.attributes, ARITHMETIC: short},
    )


def lower(
    node: Executed, info: NodeInfo | None, analysis: Analysis, resident: str = ""
) -> Operation:
    """An executed node as the device knows it; ``resident`` where it keeps the node's weights."""
    if info is None:
        # ORT wrote the node itself, as the body of a function that it has no kernel for.
        return Operation(node.op, node.inputs, node.outputs, _seen(node))
    return Operation(
        info.op,
        _at_places(info.inputs, node.inputs, analysis),
        _at_places(info.outputs, node.outputs, analysis),
        info.attributes,
        info.constant_inputs,
        info.domain,
        resident,
    )


def _seen(node: Executed) -> dict[str, Any]:
    """Attributes of a node without any, as far as shapes tell: the groups of a convolution."""
    if node.op != "Conv" or len(node.inputs) < 2 or not node.inputs[0] or not node.inputs[1]:
        return {}
    data, filters = node.inputs[0][1], node.inputs[1][1]
    if len(data) < 2 or len(filters) < 2 or not filters[1] or data[1] % filters[1]:
        return {}
    return {"group": data[1] // filters[1]}


def _at_places(
    names: Sequence[str], tensors: Sequence[Typed | None], analysis: Analysis
) -> tuple[Typed | None, ...]:
    """Put the tensors that were there at their places in the node's own list."""
    left = iter(tensors)
    placed: list[Typed | None] = []
    for name in names:
        tensor = next(left, None) if name else None
        if tensor is not None and name in analysis.dtypes:
            tensor = (analysis.dtypes[name], tensor[1])
        placed.append(tensor)
    return tuple(placed)
