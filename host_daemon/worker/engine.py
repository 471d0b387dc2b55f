"""The engine: takes commands from all streams of a VF, one at a time, fairly, and does them.

One command at a time is the device's own rule (a launch has all cores of its VF), and it is what
makes device time depend on nothing but the VF's own work. Launches and large copies run on one
thread beside the event loop, so that calls are answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import onnxruntime as ort

from host_daemon.compiler.program import CompiledProgram
from host_daemon.worker.contexts import Context
from host_daemon.worker.faults import fault_of
from host_daemon.worker.harvest import Harvest, harvest, placed
from host_daemon.worker.kernel_thread import KernelThread, end_process
from host_daemon.worker.launch import bind
from host_daemon.worker.memory import DeviceMemory, pin_all, unpin_all
from host_daemon.worker.streams import Queued, Stream
from host_daemon.worker.waits import check_passed
from vaccel import bounds
from vaccel.commands import Completion, Copy, Fill, Launch, Nop, Signal, Store, WaitFence
from vaccel.errors import InvalidArgument, VaccelError
from vaccel.model import Cost, Value

T = TypeVar("T")
N = TypeVar("N", int, float)

# Commands done before other tasks get their turn.
_SLICE = 64


@dataclass(slots=True)
class Totals:
    """What the VF has done so far. ``device_ns`` is its clock."""

    launches: int = 0
    device_ns: int = 0
    joules: float = 0.0
    errors: int = 0


class Engine:
    """Runs until its task is cancelled. Belongs to the event loop, save for the kernels' thread."""

    def __init__(
        self,
        memory: DeviceMemory,
        clock_hz: float,
        upkeep: Callable[[], Cost | None] | None = None,
        hung: Callable[[str], None] = end_process,
    ) -> None:
        self.totals = Totals()
        # Told after each launch, so that what was spent outlives this process.
        self.on_spent: Callable[[], None] = lambda: None
        self._upkeep = upkeep
        self._memory = memory
        self._clock_hz = clock_hz
        self._ready: deque[tuple[Context, Stream]] = deque()
        self._work = asyncio.Event()
        self._busy = False
        self.kernels = KernelThread(hung)

    def wake(self, context: Context, stream: Stream) -> None:
        """A stream has something to do."""
        if (context, stream) not in self._ready:
            self._ready.append((context, stream))
        self._work.set()

    @property
    def idle(self) -> bool:
        """Whether no stream has anything to do."""
        return not self._busy and not self._ready

    def begin(self, context: Context, stream: Stream) -> None:
        """A stream has got commands: those that need no time are done at once if all is idle."""
        if self.idle:
            while (head := stream.head) is not None and isinstance(head.command, Nop | Signal):
                if not stream.skip_poisoned():
                    stream.complete(Completion(head.fence))
        if stream.head is not None:
            self.wake(context, stream)

    async def run(self) -> None:
        """Do commands as they come."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                await self._drain()
        finally:
            self.kernels.end()

    async def _drain(self) -> None:
        """One command from each ready stream in turn."""
        done = 0
        self._busy = True
        try:
            while self._ready:
                context, stream = self._ready.popleft()
                if await self._step(context, stream) and stream.head is not None:
                    self._ready.append((context, stream))
                done += 1
                if done % _SLICE == 0:
                    await asyncio.sleep(0)
        finally:
            self._busy = False

    async def _step(self, context: Context, stream: Stream) -> bool:
        """Do the head of a stream. False where it must hold until another stream wakes it."""
        head = stream.head
        if head is None or stream.skip_poisoned():
            return True
        if stream.holds(lambda: self.wake(context, stream)):
            return False
        completion, held = await self._do(context, head)
        if stream.closed is not None:
            self._memory.release(held)
            return False
        if completion.error is not None:
            self.totals.errors += 1
        stream.complete(completion, held)
        return True

    async def _do(self, context: Context, head: Queued) -> tuple[Completion, int]:
        try:
            match head.command:
                case Launch() as launch:
                    return await self._launch(context, head, launch)
                case Copy() as copy:
                    await self._copy(context, copy)
                case Fill() as fill:
                    await self._fill(context, fill)
                case Store(target=target, data=data):
                    view = context.buffers.view(target, len(data), "store")
                    view[:] = np.frombuffer(data, np.uint8)
                case WaitFence() as wait if head.mark is not None:
                    check_passed(wait, head.mark)
                case _:
                    pass
        except Exception as fault:  # whatever it is, it must not end the engine
            what = f"{type(head.command).__name__.lower()} {head.fence}"
            return Completion(head.fence, fault_of(fault, what)), 0
        return Completion(head.fence), 0

    async def _copy(self, context: Context, copy: Copy) -> None:
        source = context.buffers.view(copy.source, copy.length, "copy from")
        target = context.buffers.view(copy.target, copy.length, "copy to")
        if copy.length <= bounds.CHUNK_BYTES:
            np.copyto(target, source)
        else:
            # NumPy copies overlapping ranges as if through a third place.
            await self.kernels.run(context, lambda _: np.copyto(target, source))

    async def _fill(self, context: Context, fill: Fill) -> None:
        size = len(fill.pattern)
        if size not in (1, 2, 4, 8) or fill.length % size:
            raise InvalidArgument(
                f"fill of {fill.length} bytes with a pattern of {size}: a pattern is 1, 2, 4 or 8"
                " bytes, and the length a multiple of it"
            )
        target = context.buffers.view(fill.target, fill.length, "fill")
        pattern = np.frombuffer(fill.pattern, np.uint8)

        def work(_: ort.RunOptions | None) -> None:
            target.reshape(-1, size)[:] = pattern

        if fill.length <= bounds.CHUNK_BYTES:
            work(None)
        else:
            await self.kernels.run(context, work)

    async def _launch(
        self, context: Context, head: Queued, launch: Launch
    ) -> tuple[Completion, int]:
        program = context.programs.find(launch.program)
        bound = bind(program, launch, context.buffers)
        wanted = [result.name for result in bound.results]
        # Who is told of a completion reads its results and lets them go: they need no own memory.
        lent = head.submission.sink is not None

        def work(stop: ort.RunOptions) -> tuple[Harvest, Cost]:
            outcome = program.run(bound.inputs, wanted, stop)
            more = self._upkeep() if self._upkeep else None
            cost = outcome.cost if more is None else _sum(outcome.cost, more)
            return harvest(bound, outcome.results, lent=lent), cost

        pin_all(bound.buffers)
        try:
            gathered, cost = await self.kernels.run(context, work, bounds.STOP_SECONDS)
        finally:
            unpin_all(bound.buffers)
        if context.closed is not None:
            raise context.closed
        values = self._place(context, gathered)
        return Completion(head.fence, None, self._advance(cost), values), gathered.own_bytes

    def _place(self, context: Context, gathered: Harvest) -> dict[str, Value]:
        """Make buffers for what is fresh, and count the rest until it is fetched."""
        made: list[int] = []
        try:
            for raw in gathered.fresh:
                made.append(context.buffers.adopt(raw).number)
            self._memory.reserve(gathered.own_bytes, "results")
        except VaccelError:
            for number in made:
                context.buffers.free(number)
            raise
        return {name: placed(value, made) for name, value in gathered.values.items()}

    def retire(self, program: CompiledProgram) -> None:
        """Close a program on the kernels' thread, behind what runs there now."""
        self.kernels.later(program.close)

    def _advance(self, cost: Cost) -> Cost:
        """Put a launch on the VF's clock."""
        self.totals.launches += 1
        return self.charge(cost)

    def charge(self, cost: Cost) -> Cost:
        """Put work on the VF's clock and its meter: a launch, or what its owner asked beside."""
        totals = self.totals
        spent = cost.device_ns or round(cost.critical_cycles * 1e9 / self._clock_hz)
        start = totals.device_ns
        totals.device_ns = start + spent
        totals.joules += cost.total_joules
        self.on_spent()
        return replace(cost, start_ns=start, end_ns=start + spent)


def _sum(cost: Cost, more: Cost) -> Cost:
    """One after the other."""
    return Cost(
        cycles=_added(cost.cycles, more.cycles),
        bytes=_added(cost.bytes, more.bytes),
        joules=_added(cost.joules, more.joules),
        nodes=cost.nodes,
        critical_cycles=cost.critical_cycles + more.critical_cycles,
        end_ns=cost.device_ns + more.device_ns,
    )


def _added(left: Mapping[str, N], right: Mapping[str, N]) -> dict[str, N]:
    total = dict(left)
    for key, value in right.items():
        total[key] = total[key] + value if key in total else value
    return total
