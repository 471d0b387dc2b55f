"""A compiled program: what a worker keeps of a model, and how it runs and costs it.

fp32 numerics are those of one optimised ONNX Runtime session over the whole model, so that wall
time is ORT's own. Cost comes from a plan, found once per key by a traced run (see ``trace`` and
``plan``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort

from host_daemon.compiler import frontend, kernels, signature, vxp
from host_daemon.compiler.accuracy import held_to
from host_daemon.compiler.analysis import analyse
from host_daemon.compiler.arithmetic.legalise import legalise
from host_daemon.compiler.body import Whole, open_body
from host_daemon.compiler.external import Blobs
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.fused_values import Fuser
from host_daemon.compiler.fusion import possible
from host_daemon.compiler.memory_plan import Fit
from host_daemon.compiler.pipeline import Pipeline
from host_daemon.compiler.plan import Key, Plan, Plans, key_of, make_plan
from host_daemon.compiler.session_step import Opening, serialize
from host_daemon.compiler.shapes import KernelShapes
from host_daemon.compiler.trace import Executed, Trace, typed
from host_daemon.core.device import DeviceModel
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument
from vaccel.model import Array, Cost, DType, Port, Shape


@dataclass(frozen=True, slots=True)
class Target:
    """What to compile for: the VF's device, host threads, and a folder for traces.

    ``memory_bytes`` is the VF's device memory, which a launch has to fit; 0 where nobody asks.
    ``identity`` names what program files must be compiled for; None where any will do.
    """

    device: DeviceModel
    threads: int
    scratch: Path
    memory_bytes: int = 0
    identity: vxp.Identity | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a launch gave. ``cost`` runs from device time 0."""

    results: Mapping[str, Any]
    cost: Cost


class CompiledProgram:
    """One program on one VF. ``run`` and ``estimate`` belong on one thread at a time."""

    def __init__(
        self,
        model: CheckedModel,
        target: Target,
        arithmetic: str = "",
        max_error: float = 0.0,
        suits: Callable[[Mapping[str, Shape]], None] | None = None,
    ) -> None:
        """``suits`` raises InvalidArgument where shapes are none that it can be launched with."""
        self.inputs = signature.inputs(model.proto.graph)
        self.outputs = signature.outputs(model.proto.graph)
        self.weight_bytes = model.weight_bytes
        self.nodes = model.nodes
        self.sha256 = model.sha256
        self._device = target.device
        analysis = analyse(model.proto)
        fuser = Fuser.of(model.proto, analysis, target.device)
        self.fit = Fit(model.proto, model.weight_bytes, target.memory_bytes, fuser)
        self.fit.check_known(model.known)
        plain = model.proto
        model, self.analysis = legalise(model, arithmetic, target.device, analysis)
        if max_error:
            model, self.analysis = held_to(
                max_error, model, self.analysis, arithmetic, target.device
            )
        self.graph = model.proto.graph
        self._fusions = fuser.fusions
        if model.proto is not plain:
            self._fusions = possible(model.proto, self.analysis, target.device)
        opening = Opening(target.threads, target.scratch, model.weights)
        self._body = open_body(model, self.analysis, target.device, opening)
        self._plans = Plans()
        self._suits = suits
        self._by_name = {port.name: port for port in self.inputs}
        # A program of one node is a kernel: the device may have arithmetic of its own for it.
        self._is_kernel = model.nodes == 1 and isinstance(self._body, Whole)
        alone = self._is_kernel or (isinstance(self._body, Pipeline) and self._body.on_device)
        self._shapes = KernelShapes(model.proto) if alone and model.nodes == 1 else None
        self.steering = self.analysis.steering & self._by_name.keys()

    def run(
        self,
        inputs: Mapping[str, Any],
        wanted: Sequence[str],
        stop: ort.RunOptions | None = None,
    ) -> Outcome:
        """Launch on checked inputs. Raises InvalidArgument where their values do not suit the
        model.
        """
        key = key_of(inputs, self.analysis.steering)
        plan = None if self.analysis.random else self._plans.get(key)
        if plan is None:
            plan = self._plan_by_shapes(key, inputs)
        if plan is None:
            self.fit.check(inputs, self.analysis.steering)
            names = [port.name for port in self.outputs] if self._is_kernel else list(wanted)
            plan, found = self._trace(inputs, names, stop)
            if not self.analysis.random:
                self._plans.put(key, plan)
            if self.analysis.random or found.exact:
                # Where chance steers, another run would perhaps take another path.
                return Outcome({name: found.results[name] for name in wanted}, plan.cost)
        own = self._run_on_device(plan, inputs) if self._is_kernel else None
        if own is not None:
            return Outcome({name: own[name] for name in wanted}, plan.cost)
        return Outcome(self._body.run(inputs, wanted, stop), plan.cost)

    def estimate(
        self,
        shapes: Mapping[str, Shape],
        values: Mapping[str, Any],
        stop: ort.RunOptions | None = None,
    ) -> Cost:
        """Cost of a launch with such shapes. ``values`` must hold those inputs that steer.

        Raises InvalidArgument naming steering inputs whose values are missing.
        """
        return self.plan(shapes, values, stop).cost

    def plan(
        self,
        shapes: Mapping[str, Shape],
        values: Mapping[str, Any],
        stop: ort.RunOptions | None = None,
    ) -> Plan:
        """What a launch with such shapes would execute. As ``estimate``."""
        missing = sorted(name for name in self.steering if name in shapes and name not in values)
        if missing:
            raise InvalidArgument(
                f"cost depends on the values of {', '.join(missing)}, which are not given",
                hint="give these inputs with their data; shapes do for the others",
            )
        neutral = {
            name: _neutral(self._by_name[name], shape)
            for name, shape in shapes.items()
            if name not in values
        }
        inputs = neutral | dict(values)
        key = key_of(inputs, self.analysis.steering)
        plan = None if self.analysis.random else self._plans.get(key)
        if plan is None:
            plan = self._plan_by_shapes(key, inputs)
        if plan is None:
            self.fit.check(inputs, self.analysis.steering)
            plan, _ = self._trace(inputs, [port.name for port in self.outputs], stop)
            self._plans.put(key, plan)
        return plan

    def _plan_by_shapes(self, key: Key, inputs: Mapping[str, Any]) -> Plan | None:
        """The plan of a kernel whose shapes say it all, so that nothing has to run to find it."""
        if self._suits is not None:
            self._suits({name: each.shape for name, each in inputs.items()})
        if self._shapes is None:
            return None
        specs = {name: typed(each) for name, each in inputs.items()}
        node = self._shapes.execution({name: spec for name, spec in specs.items() if spec})
        if node is None:
            return None
        self.fit.check(inputs, self.analysis.steering)
        plan = self._planned((node,))
        self._plans.put(key, plan)
        return plan

    def _trace(
        self, inputs: Mapping[str, Any], names: Sequence[str], stop: ort.RunOptions | None
    ) -> tuple[Plan, Trace]:
        found = self._body.trace(inputs, names, stop)
        return self._planned(found.nodes), found

    def _planned(self, nodes: Sequence[Executed]) -> Plan:
        residents, fusions = self._body.residents, self._fusions
        return make_plan(nodes, self.analysis, self._device, residents, fusions)

    @property
    def programming(self) -> Cost | None:
        """What it cost to put weights where the device keeps them; None where it keeps none."""
        written = self._body.programming
        return self._device.launch_cost(written) if written else None

    @property
    def spilled(self) -> Mapping[str, str]:
        """Why the device does not keep the weights of some nodes, by name of node."""
        return self._body.spilled

    def close(self) -> None:
        """Have the device forget the program's weights. It must not run after."""
        self._body.close()

    def _run_on_device(self, plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        if len(plan.operations) != 1:
            return None
        (info,) = self.analysis.nodes.values()
        if any(name and name not in inputs for name in info.inputs):
            return None
        operands = [inputs[name] if name else None for name in info.inputs]
        given = self._device.run(plan.operations[0], operands)
        if given is None:
            return None
        return dict(zip(info.outputs, given, strict=False))


def compile_model(
    data: bytes | memoryview,
    target: Target,
    sha256: str = "",
    arithmetic: str = "",
    max_error: float = 0.0,
    blobs: Blobs = MappingProxyType({}),
    own: bool = False,
) -> CompiledProgram:
    """Compile ONNX bytes, or open a program file. ``blobs``, ``own``: see ``frontend.read``.

    ``sha256`` is that of ONNX bytes, where it is known already. ``arithmetic`` is that of the
    products of float32, "" for what a program file says, or float32; ``max_error`` what nodes in
    analog are held to, 0 for what a program file says, or nothing. Raises InvalidModel or
    Unsupported naming the node at fault.
    """
    view = memoryview(data)
    if not vxp.is_vxp(view):
        model = frontend.read(view, sha256, blobs, own)
        return CompiledProgram(model, target, arithmetic, max_error)
    with vxp.opened(view, target.identity, own) as model:
        return CompiledProgram(model, target, *vxp.asked(view, arithmetic, max_error))


def compile_kernel(source: KernelSource, target: Target) -> CompiledProgram:
    """Compile one kernel by name. Raises NotFound, InvalidArgument or Unsupported."""
    built = kernels.build(source, target.device.arithmetic)
    suits = kernels.checker(source)
    return CompiledProgram(frontend.read(serialize(built)), target, suits=suits)


def _neutral(port: Port, shape: Shape) -> Array:
    """Zeros, lazily backed: of values that do not steer, any will do."""
    if port.dtype is DType.STRING:
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, port.dtype.numpy)
