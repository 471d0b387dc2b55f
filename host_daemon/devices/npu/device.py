"""What one VF owns of an NPU: its cost in closed form, and the arithmetic that is its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from host_daemon.core.device import ARITHMETIC, Card, Epilogue, NodeCost, Operation, Rounding
from host_daemon.devices import contrib
from host_daemon.devices.gemm import Gemm
from host_daemon.devices.lowering import Lowered, lower
from host_daemon.devices.npu import energy, epilogues
from host_daemon.devices.npu.kernels import compute, is_product
from host_daemon.devices.npu.memory import Traffic, least_sram
from host_daemon.devices.npu.overlapped import Timing, overlapped
from host_daemon.devices.npu.parameters import BY_DTYPE, FORMATS, Arithmetic, NpuParameters
from host_daemon.devices.npu.shape import Machine
from host_daemon.devices.npu.systolic import cycles
from host_daemon.devices.state import Stateless
from host_daemon.devices.work import Work, work
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import Array, Cost, DType, Profile

# The roundings of ``rounding`` and ``integers``, as a compiler can write them.
_ROUNDINGS: Final[Mapping[str, Rounding]] = {
    "bf16": Rounding(DType.BFLOAT16, DType.BFLOAT16),
    "fp16": Rounding(DType.FLOAT16, DType.FLOAT16),
    "fp8_e4m3": Rounding(DType.FLOAT8_E4M3FN, DType.BFLOAT16),
    "fp8_e5m2": Rounding(DType.FLOAT8_E5M2, DType.BFLOAT16),
    "int8": Rounding(DType.INT8, DType.INT32),
}


class NpuDevice(Stateless):
    """The model of a profile. Its answers depend on its arguments only: it has no past to save."""

    def __init__(self, card: Card, profile: Profile) -> None:
        if not isinstance(card.parameters, NpuParameters):
            raise InvalidArgument(f"card {card.name} is of kind {card.kind!r}, not npu")
        super().__init__(card, profile)
        self._parameters: NpuParameters = card.parameters
        self._bus = profile.bandwidth_bytes_per_second / card.clock_hz
        self._dram = self._bus * self._parameters.efficiency
        self._latency = math.ceil(self._parameters.latency_seconds * card.clock_hz)
        self._machines = {
            name: self._machine(each) for name, each in self._parameters.arithmetic.items()
        }

    def _machine(self, arithmetic: Arithmetic) -> Machine:
        own = self._parameters
        left, right = FORMATS[arithmetic.name]
        return Machine(
            rows=own.rows * max(1, int(arithmetic.rate)),
            columns=own.columns,
            units=self.profile.cores * own.arrays_per_core,
            dataflow=own.dataflow,
            slowdown=max(1.0, 1.0 / arithmetic.rate),
            left_bits=left,
            right_bits=right,
            sum_bits=16 if arithmetic.accumulator == "fp16" else 32,
            sram_bytes=own.sram_bytes // own.arrays_per_core,
            accumulator_bytes=own.accumulator_bytes // own.arrays_per_core,
            port_bytes_per_cycle=own.port_bytes_per_cycle / own.arrays_per_core,
            dram_bytes_per_cycle=self._dram,
            request_bytes=own.request_bytes,
            latency_cycles=self._latency,
        )

    @property
    def clock_hz(self) -> float:
        """The clock of all cycles here."""
        return self.card.clock_hz

    @property
    def arithmetic(self) -> Sequence[str]:
        """Arithmetic of the arrays."""
        return self.card.arithmetic

    @property
    def roundings(self) -> Mapping[str, Rounding]:
        """Arithmetic that is the common kernels' between roundings: all but int4 and fp32."""
        return {name: each for name, each in _ROUNDINGS.items() if name in self._machines}

    @property
    def idle_watts(self) -> float:
        """What this VF draws while it has nothing to do."""
        return energy.idle_watts(self._parameters, self.profile.cores, self.card.cores)

    def cost(self, operation: Operation) -> NodeCost:
        """The closed form. Raises InvalidArgument where shapes do not fit, Unsupported for an
        arithmetic.
        """
        found = self._placed(operation)
        return self._on_vector(found) if isinstance(found, Work) else self._on_array(*found)

    def _placed(self, operation: Operation) -> Work | tuple[Lowered, Machine, Arithmetic]:
        """A product of the arrays, in its arithmetic; or work of the vector core."""
        name = self._arithmetic_of(operation)
        machine = self._machines.get(name) if name else None
        fold = (machine.rows, machine.columns) if machine else (1, 1)
        lowered = lower(operation, fold)
        if lowered is None:
            return work(operation)
        if machine is None or name is None:
            return _scalar_work(operation, lowered)
        if machine.sram_bytes < least_sram(machine):
            raise Unsupported(
                f"{operation.op}: a tile of {machine.rows}x{machine.columns} in {name} needs"
                f" {least_sram(machine)} B of SRAM, an array of {self.card.name} has"
                f" {machine.sram_bytes} B",
                hint="compute in another arithmetic, or on a card with more sram.capacity",
            )
        if ARITHMETIC in operation.attributes:
            lowered = _stored_as(lowered, machine)
        return lowered, machine, self._parameters.arithmetic[name]

    def fused(self, product: Operation, behind: Sequence[Epilogue]) -> Sequence[NodeCost]:
        """What nodes cost on a product's tiles before they are written: see ``epilogues``."""
        found = self._placed(product)
        if isinstance(found, Work) or len(found[0].steps) != 1:
            return ()
        apart = [self._on_array(*found), *(self.cost(each.operation) for each in behind)]
        if not behind or any(cost.place != "vector" for cost in apart[1:]):
            return ()
        lowered, machine, arithmetic = found
        lowered = epilogues.with_result(lowered, behind)
        whole = self._parameters.timing != "overlapped" or product.op == "ConvTranspose"
        many = 1 if whole else epilogues.rounds(lowered.steps[0].gemm, machine)
        first = self._on_array(lowered, machine, arithmetic)
        cores = self.profile.cores
        rest = epilogues.behind_product(self._parameters, cores, first, behind, many)
        return (first, *rest) if epilogues.is_no_dearer((first, *rest), apart) else ()

    def _arithmetic_of(self, operation: Operation) -> str | None:
        asked = operation.attributes.get(ARITHMETIC)
        if asked is not None:
            if asked not in self._machines:
                raise Unsupported(
                    f"{operation.op}: {self.card.name} does not compute in {asked}",
                    hint=f"it does in {', '.join(self._machines)}",
                )
            return str(asked)
        first = next((each for each in operation.inputs if each is not None), None)
        dtype = contrib.numbers(operation) or (first[0] if first else None)
        name = BY_DTYPE.get(dtype) if dtype else None
        if name in ("fp16", "bf16") and name not in self._machines:
            # Every fp16 and bf16 is an fp32: arrays without the one compute it in the other.
            name = "fp32"
        return name if name in self._machines else None

    def _on_vector(self, asked: Work) -> NodeCost:
        own = self._parameters
        moved = asked.bytes_read + asked.bytes_written
        vector = epilogues.vector_cycles(own, self.profile.cores, asked.operations, moved)
        dma = math.ceil(moved / self._dram)
        latency = self._latency if moved else 0
        busy = {"vector": vector} if vector else {}
        return NodeCost(
            place="vector",
            critical_cycles=own.node_cycles + latency + max(vector, dma),
            cycles=busy | ({"dma": dma, "bus": math.ceil(moved / self._bus)} if dma else {}),
            bytes={"dram": moved, "sram": 2 * moved} if moved else {},
            joules=energy.dynamic(
                own.energy,
                None,
                macs=0,
                operations=asked.operations,
                sram_bytes=2 * moved,
                dram_bytes=moved,
            ),
        )

    def _on_array(self, lowered: Lowered, machine: Machine, arithmetic: Arithmetic) -> NodeCost:
        own = self._parameters
        total = array = dma = sram = dram = 0
        for step in lowered.steps:
            if step.gemm.empty or step.repeat == 0:
                continue
            timing = self._time(step.gemm, machine)
            # The next operation finds DRAM busy with this one's last store: count it here.
            total += max(timing.total, timing.dram) * step.repeat
            array += timing.compute * step.repeat
            dma += timing.dram * step.repeat
            dram += (timing.traffic.dram_read + timing.traffic.dram_write) * step.repeat
            sram += timing.traffic.sram * step.repeat
        lanes = math.ceil(lowered.epilogue / (own.lanes * self.profile.cores))
        busy = {"array": array, "vector": lanes, "dma": dma, "bus": math.ceil(dram / self._bus)}
        return NodeCost(
            place="array",
            # The epilogue of one tile runs beside the next tile.
            critical_cycles=own.node_cycles + max(total, lanes),
            cycles={unit: value for unit, value in busy.items() if value},
            bytes={"dram": dram, "sram": sram} if sram else {},
            joules=energy.dynamic(
                own.energy,
                arithmetic,
                macs=lowered.macs,
                operations=lowered.epilogue,
                sram_bytes=sram,
                dram_bytes=dram,
            ),
            macs=lowered.macs,
        )

    def _time(self, gemm: Gemm, machine: Machine) -> Timing:
        if self._parameters.timing == "overlapped":
            return overlapped(gemm, machine)
        shape, array = (gemm.m, gemm.n, gemm.k), (machine.rows, machine.columns)
        one = cycles(machine.dataflow, shape, array)
        total = math.ceil(-(-gemm.batch // machine.units) * one * machine.slowdown)
        read = gemm.left_bytes + gemm.right_bytes + gemm.beside_bytes
        # Products never wait for DRAM here, but the vector core does, fused with one or not.
        dram = math.ceil(gemm.beside_bytes / self._dram)
        moved = Traffic(read, gemm.output_bytes, read + gemm.output_bytes)
        return Timing(total + dram, total, dram, moved)

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        """Nodes in order, launch overhead, and static energy over the device time of both."""
        own = self._parameters
        cycles: dict[str, int] = {}
        moved: dict[str, int] = {}
        joules: dict[str, float] = {}
        places: dict[str, int] = {}
        for node in nodes:
            places[node.place] = places.get(node.place, 0) + 1
            _add(cycles, node.cycles)
            _add(moved, node.bytes)
            _add(joules, node.joules)
        critical = math.ceil(own.launch_seconds * self.clock_hz)
        critical += sum(node.critical_cycles for node in nodes)
        seconds = critical / self.clock_hz
        watts = energy.busy_watts(own, self.profile.cores, self.card.cores)
        joules["static"] = seconds * watts
        joules["launch"] = own.energy.launch
        return Cost(cycles, moved, joules, places, critical, 0, math.ceil(seconds * 1e9))

    def computes(self, operation: Operation) -> bool:
        """Products that state an arithmetic, or are of a type that the common kernels lack.

        Raises Unsupported for an arithmetic that the card lacks.
        """
        if not is_product(operation):
            return False
        arithmetic = self._arithmetic_of(operation)
        if ARITHMETIC in operation.attributes:
            return True
        first = operation.inputs[0] if operation.inputs else None
        return first is not None and first[0].narrow and arithmetic not in (None, "fp32")

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """Exact integer products; None where the common kernels are already this device's
        arithmetic.
        """
        return compute(operation, inputs, self._arithmetic_of(operation))


def _add(total: dict[str, Any], more: Any) -> None:
    for key, value in more.items():
        total[key] = total.get(key, 0) + value


def _stored_as(lowered: Lowered, machine: Machine) -> Lowered:
    """The same GEMMs, with operands that lie in memory in the arithmetic's own format."""
    bits = 8 * lowered.operand.itemsize
    steps = []
    for step in lowered.steps:
        left = step.gemm.left_bytes * machine.left_bits // bits
        right = step.gemm.right_bytes * machine.right_bits // bits
        output = step.gemm.output_bytes * machine.left_bits // bits
        gemm = replace(step.gemm, left_bytes=left, right_bytes=right, output_bytes=output)
        steps.append(replace(step, gemm=gemm))
    return replace(lowered, steps=tuple(steps))


def _scalar_work(operation: Operation, lowered: Lowered) -> Work:
    """A GEMM in a type that the arrays do not have: on the vector lanes, two operations a MAC."""
    plain = work(operation)
    # Lanes are 32 bits wide: a 64-bit multiply takes four of their products.
    wide = 4 if lowered.operand in (DType.FLOAT64, DType.INT64, DType.UINT64) else 1
    return Work(2 * wide * lowered.macs, plain.bytes_read, plain.bytes_written)
