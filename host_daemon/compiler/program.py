"""A compiled program: what a worker keeps of a model, and how it runs and costs it.

fp32 numerics are those of one optimised ONNX Runtime session over the whole model, so that wall
time is ORT's own. Cost comes from a plan, found once per key by a traced run (see ``trace`` and
``plan``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from host_daemon.compiler import frontend, kernels, sessions, signature
from host_daemon.compiler.analysis import Analysis, analyse
from host_daemon.compiler.constants import constant_operation
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.plan import Key, Plan, Plans, key_of, make_plan
from host_daemon.compiler.shapes import KernelShapes
from host_daemon.compiler.trace import trace
from host_daemon.core.device import ARITHMETIC, DeviceModel
from vaccel import bounds
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument, InvalidModel, Unsupported
from vaccel.model import Array, Cost, DType, Port, Shape


@dataclass(frozen=True, slots=True)
class Target:
    """What to compile for: the VF's device, host threads, and a folder for traces."""

    device: DeviceModel
    threads: int
    scratch: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a launch gave. ``cost`` runs from device time 0."""

    results: Mapping[str, Array]
    cost: Cost


class CompiledProgram:
    """One program on one VF. ``run`` and ``estimate`` belong on one thread at a time."""

    def __init__(self, model: CheckedModel, target: Target) -> None:
        self.inputs = signature.inputs(model.proto.graph)
        self.outputs = signature.outputs(model.proto.graph)
        self.weight_bytes = model.weight_bytes
        self.nodes = model.nodes
        self.sha256 = model.sha256
        self._target = target
        self._analysis: Analysis = analyse(model.proto)
        self._bytes = _serialize(model.proto)
        self._session = sessions.open_session(self._bytes, sessions.options(target.threads))
        self._plans = Plans()
        self._by_name = {port.name: port for port in self.inputs}
        # A program of one node is a kernel: the device may have arithmetic of its own for it.
        self._is_kernel = model.nodes == 1
        if not self._is_kernel:
            _check_unstated(self._analysis)
        self._shapes = KernelShapes(model.proto) if self._is_kernel else None
        self.load_cost, self._resident = Cost(), ""
        if self._is_kernel:
            self._keep_weights(model)
        self.steering = self._analysis.steering & self._by_name.keys()

    def _keep_weights(self, model: CheckedModel) -> None:
        """Give a kernel's constant operands to a device that keeps them where it computes."""
        (node,) = model.proto.graph.node
        operation, weights = constant_operation(model.proto, self._analysis)
        device = self._target.device
        if operation is None or not device.computes(operation):
            return
        operation = replace(operation, resident=f"{model.sha256[:16]}/{node.name}")
        cost = device.keep(operation, weights)
        if cost is not None:
            self._resident = operation.resident
            self.load_cost = device.launch_cost([cost])

    def close(self) -> None:
        """Let go of what the device keeps for it. Closing twice is no error."""
        if self._resident:
            self._target.device.drop(self._resident)
            self._resident = ""

    def run(
        self,
        inputs: Mapping[str, Array],
        wanted: Sequence[str],
        stop: ort.RunOptions | None = None,
    ) -> Outcome:
        """Launch on checked inputs. Raises InvalidArgument where their values do not suit the
        model.
        """
        key = key_of(inputs, self._analysis.steering)
        plan = None if self._analysis.random else self._plans.get(key)
        if plan is None:
            plan = self._plan_by_shapes(key, inputs)
        if plan is None:
            names = [port.name for port in self.outputs] if self._is_kernel else list(wanted)
            plan, results = self._trace(inputs, names, stop)
            if self._analysis.random:
                # Another run would draw other numbers, and perhaps take another path.
                return Outcome({name: results[name] for name in wanted}, plan.cost)
            self._plans.put(key, plan)
        own = self._run_on_device(plan, inputs) if self._is_kernel else None
        if own is not None:
            return Outcome({name: own[name] for name in wanted}, plan.cost)
        arrays = sessions.run(self._session, wanted, inputs, stop)
        return Outcome(dict(zip(wanted, arrays, strict=True)), plan.cost)

    def estimate(
        self,
        shapes: Mapping[str, Shape],
        values: Mapping[str, Array],
        stop: ort.RunOptions | None = None,
    ) -> Cost:
        """Cost of a launch with such shapes. ``values`` must hold those inputs that steer.

        Raises InvalidArgument naming steering inputs whose values are missing.
        """
        missing = sorted(name for name in self.steering if name in shapes and name not in values)
        if missing:
            raise InvalidArgument(
                f"cost depends on the values of {', '.join(missing)}, which are not given",
                hint="give these inputs with their data; shapes do for the others",
            )
        inputs = {
            name: values[name] if name in values else _neutral(self._by_name[name], shape)
            for name, shape in shapes.items()
        }
        key = key_of(inputs, self._analysis.steering)
        plan = None if self._analysis.random else self._plans.get(key)
        if plan is None:
            plan = self._plan_by_shapes(key, inputs)
        if plan is None:
            plan, _ = self._trace(inputs, [port.name for port in self.outputs], stop)
            self._plans.put(key, plan)
        return plan.cost

    def _plan_by_shapes(self, key: Key, inputs: Mapping[str, Array]) -> Plan | None:
        """The plan of a kernel whose shapes say it all, so that nothing has to run to find it."""
        typed = {
            name: (DType(str(each.dtype)), each.shape)
            for name, each in inputs.items()
            if not each.dtype.hasobject
        }
        node = self._shapes.execution(typed) if self._shapes else None
        if node is None:
            return None
        plan = make_plan((node,), self._analysis, self._target.device)
        self._plans.put(key, plan)
        return plan

    def _trace(
        self, inputs: Mapping[str, Array], names: Sequence[str], stop: ort.RunOptions | None
    ) -> tuple[Plan, Mapping[str, Array]]:
        target = self._target
        found = trace(
            self._bytes,
            names,
            inputs,
            threads=target.threads,
            scratch=target.scratch,
            stop=stop,
        )
        return make_plan(found.nodes, self._analysis, target.device), found.results

    def _run_on_device(self, plan: Plan, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        if len(plan.operations) != 1:
            return None
        (info,) = self._analysis.nodes.values()
        if not self._resident and any(name and name not in inputs for name in info.inputs):
            return None
        operands = [inputs.get(name) if name else None for name in info.inputs]
        operation = replace(plan.operations[0], resident=self._resident)
        given = self._target.device.run(operation, operands)
        if given is None:
            return None
        return dict(zip(info.outputs, given, strict=False))


def _check_unstated(analysis: Analysis) -> None:
    """Raise Unsupported where a node of many states an arithmetic: only kernels run in it yet."""
    for name, info in analysis.nodes.items():
        if ARITHMETIC in info.attributes:
            raise Unsupported(
                f"node {name!r} ({info.op}) states {ARITHMETIC} ="
                f" {str(info.attributes[ARITHMETIC])[:80]!r} in a program of several nodes",
                hint="a program of one node may; others compute in their tensors' types",
            )


def compile_model(data: bytes, target: Target) -> CompiledProgram:
    """Compile ONNX bytes. Raises InvalidModel or Unsupported naming the node at fault."""
    return CompiledProgram(frontend.read(data), target)


def compile_kernel(source: KernelSource, target: Target) -> CompiledProgram:
    """Compile one kernel by name. Raises NotFound or InvalidArgument."""
    return CompiledProgram(frontend.read(_serialize(kernels.build(source))), target)


def _serialize(proto: ModelProto) -> bytes:
    try:
        return proto.SerializeToString()
    except (ValueError, MemoryError) as fault:
        raise InvalidModel(f"model is more than {bounds.MODEL_BYTES} bytes") from fault


def _neutral(port: Port, shape: Shape) -> Array:
    """Zeros, lazily backed: of values that do not steer, any will do."""
    if port.dtype is DType.STRING:
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, port.dtype.numpy)
