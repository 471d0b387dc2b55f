"""Why a program costs what it costs: each node with its place, its reason and its numbers.

The numbers are the plan's own (``plan.make_plan``). Utilisation is a unit's busy cycles over the
node's critical cycles; of nodes that are fused, over those of all of them together. The roofline
(S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual Performance Model for
Multicore Architectures", CACM 52(4), 2009) has as its roofs the bandwidth of the profile, and what
the device's own closed form says of a large product in the node's arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from onnx import GraphProto

from host_daemon.compiler.analysis import Analysis, NodeInfo
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.graphs import nodes as all_nodes
from host_daemon.compiler.memory_plan import MemoryPlan
from host_daemon.compiler.plan import Plan
from host_daemon.compiler.program import CompiledProgram, Target
from host_daemon.core.device import ARITHMETIC, NodeCost, Operation
from vaccel.binding import check
from vaccel.errors import InvalidArgument, Unsupported, VaccelError
from vaccel.model import Array, DType, Port, Profile, Shape

# Large enough that start and drain of an array do not show.
_PROBE: Final = 4096
_CONTAINERS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_PRODUCTS: Final = frozenset(
    {
        "MatMul",
        "Gemm",
        "Conv",
        "ConvTranspose",
        "MatMulInteger",
        "ConvInteger",
        "QLinearMatMul",
        "QLinearConv",
    }
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: shapes by input, sizes by symbol, and values of inputs that steer."""

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Array] = field(default_factory=dict)


def explain(
    model: CheckedModel,
    program: CompiledProgram,
    target: Target,
    profile: Profile,
    question: Question,
) -> dict[str, Any]:
    """The explanation of one launch, as JSON has it. See docs/compiler.md for its fields.

    Raises InvalidArgument naming inputs whose shapes or values are missing or wrong.
    """
    shapes, values = _inputs(program, question)
    plan = program.plan(shapes, values)
    analysis = program.analysis
    arrays: dict[str, Array] = {
        name: values.get(name, np.broadcast_to(np.zeros((), np.int8), shape))
        for name, shape in shapes.items()
    }
    memory = program.fit.plan(arrays, analysis.steering)
    roofs = _Roofs(target, profile)
    rows = _rows(plan, analysis, roofs)
    for row in rows:
        if row["name"] in program.spilled:
            row["why"] = f"no room where its weights would be kept: {program.spilled[row['name']]}"
    return {
        "model": {
            "sha256": model.sha256,
            "nodes": model.nodes,
            "weight_bytes": model.weight_bytes,
        },
        "target": {
            "kind": profile.kind,
            "card": target.identity.card if target.identity else "",
            "profile": profile.name,
            "cores": profile.cores,
            "clock_hz": target.device.clock_hz,
            "memory_bytes": profile.memory_bytes,
            "bandwidth_bytes_per_second": profile.bandwidth_bytes_per_second,
        },
        "inputs": [
            {"name": port.name, "dtype": port.dtype.value, "shape": list(shapes[port.name])}
            for port in program.inputs
            if port.name in shapes
        ],
        "total": _total(plan),
        "memory": _memory(memory, profile),
        "nodes": rows,
        "left_out": list(_left_out(program.graph, analysis, {row["name"] for row in rows})),
    }


def _inputs(
    program: CompiledProgram, question: Question
) -> tuple[dict[str, Shape], dict[str, Array]]:
    ports = {port.name: port for port in program.inputs}
    for name in (*question.shapes, *question.values):
        if name not in ports:
            raise InvalidArgument(
                f"no input {name[:80]!r}", hint="inputs: " + "; ".join(map(str, program.inputs))
            )
    symbols = {dim for port in program.inputs for dim in port.shape or () if isinstance(dim, str)}
    for name in question.symbols:
        if name not in symbols:
            known = ", ".join(sorted(symbols)) or "none"
            raise InvalidArgument(f"no symbol {name[:80]!r}", hint=f"symbols: {known}")
    shapes: dict[str, Shape] = {}
    values: dict[str, Array] = {}
    for name, port in ports.items():
        if name in question.values:
            values[name] = _valued(port, question.values[name])
            shapes[name] = values[name].shape
            check(port, port.dtype, shapes[name])
        elif not port.optional or name in question.shapes:
            shapes[name] = question.shapes.get(name) or _assumed(port, question.symbols)
            check(port, port.dtype, shapes[name])
    return shapes, values


def _valued(port: Port, given: Array) -> Array:
    try:
        kind = np.dtype(object) if port.dtype is DType.STRING else port.dtype.numpy
        return given.astype(kind)
    except (TypeError, ValueError) as fault:
        raise InvalidArgument(f"value of input {port.name!r} is no {port.dtype.value}") from fault


def _assumed(port: Port, symbols: Mapping[str, int]) -> Shape:
    """The shape with its symbols filled in; 1 for those that nobody named."""
    if getattr(port, "containers", ()):
        raise Unsupported(f"input {port.name!r} is no tensor: its launch cannot be explained")
    if port.shape is None:
        raise InvalidArgument(
            f"input {port.name!r} is of any rank", hint=f"say --shape {port.name}=1,2,3"
        )
    return tuple(
        dim if isinstance(dim, int) else symbols.get(str(dim), 1) if dim else 1
        for dim in port.shape
    )


def _total(plan: Plan) -> dict[str, Any]:
    cost = plan.cost
    return {
        "critical_cycles": cost.critical_cycles,
        "device_ns": cost.device_ns,
        "joules": cost.total_joules,
        "joules_by": dict(cost.joules),
        "cycles": dict(cost.cycles),
        "bytes": dict(cost.bytes),
        "nodes": dict(cost.nodes),
    }


def _memory(found: MemoryPlan | None, profile: Profile) -> dict[str, Any]:
    if found is None:
        return {"capacity_bytes": profile.memory_bytes}
    return {
        "capacity_bytes": profile.memory_bytes,
        "weight_bytes": found.weight_bytes,
        "peak_bytes": found.peak_bytes,
        "at": found.peak.where,
        "largest": found.peak.largest,
        "unknown_values": found.unknown,
        "live_bytes": [each.live_bytes for each in found.held],
    }


@dataclass(slots=True)
class _Sum:
    """All runs of one node."""

    operation: Operation
    place: str
    note: str = ""
    fused_into: str = ""
    joined: list[str] = field(default_factory=list)
    runs: int = 0
    critical: int = 0
    # Of all that it is fused with, where it is.
    together: int = 0
    macs: int = 0
    cycles: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    joules: dict[str, float] = field(default_factory=dict)

    def add(self, cost: NodeCost) -> None:
        self.runs += 1
        self.critical += cost.critical_cycles
        self.macs += cost.macs
        for mine, theirs in ((self.cycles, cost.cycles), (self.bytes, cost.bytes)):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0) + value
        for key, joules in cost.joules.items():
            self.joules[key] = self.joules.get(key, 0.0) + joules


def _rows(plan: Plan, analysis: Analysis, roofs: _Roofs) -> list[dict[str, Any]]:
    """A row for each node, in the order in which they first ran; a loop's turns are one row."""
    sums: dict[str, _Sum] = {}
    nodes = zip(plan.names, plan.operations, plan.costs, plan.fused, strict=True)
    for name, operation, cost, product in nodes:
        sums.setdefault(name, _Sum(operation, cost.place, cost.note, product)).add(cost)
    _group(sums)
    known = [name for name in sums if name in analysis.nodes]
    makers = {out: name for name in known for out in _outputs(name, analysis)}
    rows: list[dict[str, Any]] = []
    start = 0
    for name, each in sums.items():
        info = analysis.nodes.get(name)
        rows.append(_row(name, each, start, roofs) | {"takes": _takes(info, makers)})
        start += each.critical
    return rows


def _group(sums: Mapping[str, _Sum]) -> None:
    """Tell products what is fused into them, and all of them how long they take together."""
    for name, each in sums.items():
        each.together += each.critical
        if each.fused_into:
            sums[each.fused_into].joined.append(name)
            sums[each.fused_into].together += each.critical
    for each in sums.values():
        if each.fused_into:
            each.together = sums[each.fused_into].together


def _outputs(name: str, analysis: Analysis) -> tuple[str, ...]:
    return tuple(filter(None, analysis.nodes[name].outputs))


def _takes(info: NodeInfo | None, makers: Mapping[str, str]) -> list[str]:
    if info is None:
        return []
    return list(dict.fromkeys(makers[name] for name in info.inputs if name in makers))


def _row(name: str, each: _Sum, start: int, roofs: _Roofs) -> dict[str, Any]:
    busy = {unit: cycles / each.together for unit, cycles in each.cycles.items() if each.together}
    return {
        "name": name,
        "op": each.operation.op,
        "place": each.place,
        "why": _fused(each) or _why(each),
        "fused_into": each.fused_into,
        "runs": each.runs,
        "inputs": [_spec(spec) for spec in each.operation.inputs],
        "outputs": [_spec(spec) for spec in each.operation.outputs],
        "start_cycle": start,
        "critical_cycles": each.critical,
        "cycles": each.cycles,
        "bytes": each.bytes,
        "joules": math.fsum(each.joules.values()),
        "joules_by": each.joules,
        "macs": each.macs,
        "utilisation": {unit: round(share, 6) for unit, share in busy.items()},
        "roofline": roofs.position(each),
    }


def _spec(spec: tuple[DType, Shape] | None) -> str:
    return "-" if spec is None else f"{spec[0].value}[{', '.join(map(str, spec[1]))}]"


_ALWAYS: Final = {
    "reference": "ONNX Runtime has no kernel for it: ONNX's reference implementation computes it",
    "host": "the host's: the banks have no way to do it, or take longer",
    "tiles": "a product with weights that stay: the tiles that keep them multiply",
}


def _fused(each: _Sum) -> str:
    into = each.fused_into
    return into and f"fused into {into}: computed on its result before that is written"


def _why(each: _Sum) -> str:
    operation = each.operation
    asked = operation.attributes.get(ARITHMETIC)
    first = next((spec[0].value for spec in operation.inputs if spec is not None), "")
    product = operation.op in _PRODUCTS
    if each.place == "array":
        more = f", with {', '.join(each.joined)} fused into it" if each.joined else ""
        return f"a product: the arrays compute it in {asked or first}{more}"
    if each.place == "banks":
        note = f": {each.note}" if each.note else ""
        return f"the banks compute it in {asked or first} where its data lies{note}"
    if each.place in _ALWAYS:
        return _ALWAYS[each.place]
    if product:
        return f"the arrays do not multiply {asked or first}: the {each.place} core does"
    if each.place == "vector":
        return "no product: the vector core computes it"
    return f"the device computes it on its {each.place}"


class _Roofs:
    """The device's roofs, in multiply-accumulates per cycle, by arithmetic."""

    def __init__(self, target: Target, profile: Profile) -> None:
        self._device = target.device
        self._bus = profile.bandwidth_bytes_per_second / target.device.clock_hz
        self._peaks: dict[tuple[DType, Any, int], float | None] = {}

    def position(self, each: _Sum) -> dict[str, Any]:
        """Where a node lies: MACs per byte, per cycle, its roof, and what bounds it."""
        moved = each.bytes.get("dram") or max(each.bytes.values(), default=0)
        busiest = max(each.cycles, key=lambda unit: each.cycles[unit], default="")
        share = each.cycles[busiest] / each.together if busiest and each.together else 0.0
        bound = busiest if share >= 0.5 else "latency"
        if not each.macs or not each.critical:
            return {"bound": bound}
        peak = self._peak(each)
        intensity = each.macs / moved if moved else math.inf
        attained = each.macs / each.critical
        found: dict[str, Any] = {"bound": bound, "macs_per_cycle": attained}
        if moved:
            found["macs_per_byte"] = intensity
        if peak:
            roof = min(peak, intensity * self._bus)
            found |= {"peak": peak, "roof": roof, "of_roof": attained / roof}
            found["side"] = "compute" if roof >= peak else "memory"
        return found

    def _peak(self, each: _Sum) -> float | None:
        operation = each.operation
        dtype = next((spec[0] for spec in operation.inputs if spec is not None), DType.FLOAT32)
        asked = operation.attributes.get(ARITHMETIC)
        # Banks read each weight for one row: what they attain is seen on a vector.
        rows = 1 if each.place == "banks" else _PROBE
        key = (dtype, asked, rows)
        if key not in self._peaks:
            self._peaks[key] = self._probed(dtype, asked, rows)
        return self._peaks[key]

    def _probed(self, dtype: DType, asked: Any, rows: int) -> float | None:
        left, square = (dtype, (rows, _PROBE)), (dtype, (_PROBE, _PROBE))
        integer = dtype in (DType.INT8, DType.UINT8)
        result = (DType.INT32 if integer else dtype, (rows, _PROBE))
        attributes = {ARITHMETIC: asked} if asked else {}
        op = "MatMulInteger" if integer and not asked else "MatMul"
        probe = Operation(op, (left, square), (result,), attributes, frozenset({1}))
        try:
            cost = self._device.cost(probe)
        except VaccelError:
            return None
        return cost.macs / cost.critical_cycles if cost.macs else None


def _left_out(
    graph: GraphProto, analysis: Analysis, ran: set[str]
) -> Iterator[dict[str, str]]:
    """Nodes that cost nothing in this launch, and why."""
    for node in all_nodes(graph):
        if node.name in ran:
            continue
        info = analysis.nodes.get(node.name)
        around = analysis.quantised.around.get(node.name)
        if node.op_type in _CONTAINERS:
            why = "what it holds is counted node by node"
        elif info is not None and info.free:
            why = "all it takes is constant: computed once, when the program is loaded"
        elif around:
            why = f"part of the product {', '.join(sorted(around))}"
        else:
            why = "this launch does not come to it"
        yield {"name": node.name, "op": node.op_type, "why": why}
