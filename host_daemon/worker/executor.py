"""The executor: ``Compute`` for one VF, in its own process. All that it is given is hostile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import onnxruntime as ort

from host_daemon.compiler.program import (
    CompiledProgram,
    Target,
    compile_kernel,
)
from host_daemon.compiler.vxp import Identity
from host_daemon.core.device import Card, DeviceModel
from host_daemon.core.lasting import Lasting
from host_daemon.worker.contexts import Context, Contexts
from host_daemon.worker.engine import Engine
from host_daemon.worker.estimates import bytes_of, estimated
from host_daemon.worker.lender import QueueLender
from host_daemon.worker.limits import check_chunk, check_submission
from host_daemon.worker.memory import Bytes, DeviceMemory, check_range
from host_daemon.worker.program_cache import Pending, ProgramCache
from host_daemon.worker.queue_totals import QueueTotals
from host_daemon.worker.uploads import uploaded
from host_daemon.worker.waits import marks_of
from vaccel import bounds, ids
from vaccel.aperture.journal import Journal
from vaccel.commands import Command, Completion
from vaccel.compute import KernelSource, Lease, OnnxSource, Program, Progress
from vaccel.errors import DeviceLost, NotFound, Unsupported, VaccelError
from vaccel.inventory import Condition
from vaccel.model import Cost, Device, Limits, Profile, Usage, Value

Transfer = Callable[[Bytes], None]
# Launches, device time, errors, joules, when the first worker began (ns), 1 where any is there.
_TOTALS: Final = "QQQdQQ"


@dataclass(frozen=True, slots=True)
class VirtualFunction:
    """What a VF is made of. ``unix_ms`` and ``random`` give time and chance, for names only."""

    id: str
    epoch: int
    card: Card
    profile: Profile
    model: DeviceModel
    threads: int
    scratch: Path
    unix_ms: Callable[[], int]
    random: Callable[[int], bytes]
    # Wall time for what the VF draws while it idles; None where nobody meters it.
    monotonic_ns: Callable[[], int] | None = None


class Executor:
    """An async context manager: entering starts the engine, leaving stops it and frees all."""

    def __init__(self, vf: VirtualFunction) -> None:
        self._vf = vf
        self.epoch = vf.epoch
        self._memory = DeviceMemory(vf.profile.memory_bytes)
        upkeep = vf.model.upkeep if isinstance(vf.model, Lasting) else None
        self._engine = Engine(self._memory, vf.model.clock_hz, upkeep)
        identity = Identity(vf.card.kind, vf.card.name, vf.profile.name)
        memory = vf.profile.memory_bytes
        self._target = Target(vf.model, vf.threads, vf.scratch, memory, identity)
        self._cache = ProgramCache(self._target, self._engine.retire)
        self._contexts = Contexts(
            self._memory,
            lambda: ids.new_id("ctx", vf.unix_ms(), vf.random),
            self._cache.release,
        )
        self._began_ns = vf.monotonic_ns() if vf.monotonic_ns else 0
        self._task: asyncio.Task[None] | None = None
        self.queues: QueueLender | None = None

    async def __aenter__(self) -> Executor:
        self._task = asyncio.create_task(self._engine.run(), name="engine")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_all(NotFound("the worker is shutting down"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def contexts(self) -> list[str]:
        """Names of the open contexts."""
        return [context.name for context in self._contexts]

    @property
    def is_idle(self) -> bool:
        """Whether no stream has anything to do."""
        return self._engine.idle

    def usage(self) -> Usage:
        """What the VF holds and has done."""
        totals = self._engine.totals
        contexts = list(self._contexts)
        rings = QueueTotals() if self.queues is None else self.queues.totals
        return Usage(
            contexts=len(contexts),
            buffers=sum(len(context.buffers) for context in contexts),
            programs=sum(len(context.programs) for context in contexts),
            memory_bytes=self._memory.used,
            launches=totals.launches,
            device_ns=totals.device_ns,
            joules=totals.joules,
            errors=totals.errors,
            idle_joules=self._idle_joules(totals.device_ns),
            queues=0 if self.queues is None else len(self.queues),
            descriptors=rings.descriptors,
            malformed=rings.malformed,
            broken_queues=rings.broken,
            empty_doorbells=rings.empty_doorbells,
            throttled=rings.throttled,
        )

    def _idle_joules(self, busy_ns: int) -> float:
        """Idle power times the wall time that no launch accounts for."""
        if self._vf.monotonic_ns is None:
            return 0.0
        idle_ns = max(0, self._vf.monotonic_ns() - self._began_ns - busy_ns)
        return self._vf.model.idle_watts * idle_ns * 1e-9

    def keep_totals(self, journal: Journal) -> None:
        """Go on from what the journal says that the VF has done, and write on in it."""
        totals = self._engine.totals
        kept = journal.read_totals(_TOTALS)
        if kept[-1]:
            totals.launches, totals.device_ns, totals.errors = map(int, kept[:3])
            totals.joules, self._began_ns = float(kept[3]), int(kept[4])

        def write() -> None:
            counts = (totals.launches, totals.device_ns, totals.errors)
            journal.write_totals((*counts, float(totals.joules), self._began_ns, 1))

        self._engine.on_spent = write
        write()

    async def begin_epoch(self, epoch: int) -> None:
        """Close every context, and return when none of their work is left."""
        if self.queues is not None:
            self.queues.reset()
        self._close_all(DeviceLost(f"VF {self._vf.id} was reset: epoch {epoch} has begun"))
        self.epoch = epoch
        await self._engine.kernels.settle()
        self._cache.clear()
        if self.queues is not None:
            await self.queues.settle()

    # --- cells that remember ----------------------------------------------------------------

    async def condition(self) -> Sequence[Condition]:
        """How the device's cells are; nothing where it has none that remember."""
        model = self._vf.model
        if not isinstance(model, Lasting):
            return ()
        return await self._engine.kernels.between(model.condition)

    async def set_clock(self, seconds: float) -> None:
        """Move the card's clock, between two launches."""
        model = self._lasting("clock")
        await self._engine.kernels.between(lambda: model.set_clock(seconds))

    async def recalibrate(self) -> Cost:
        """Compensate drift, between two launches; it is metered as all work is."""
        model = self._lasting("recalibration")
        return self._engine.charge(await self._engine.kernels.between(model.recalibrate))

    def _lasting(self, what: str) -> Lasting:
        model = self._vf.model
        if isinstance(model, Lasting):
            return model
        raise Unsupported(
            f"{what}: card {self._vf.card.name} is of kind {self._vf.card.kind}, which does not age"
        )

    # --- the Compute port -------------------------------------------------------------------

    async def devices(self) -> Sequence[Device]:
        """The VF itself."""
        vf = self._vf
        return (
            Device(
                id=vf.id,
                kind=vf.card.kind,
                card=vf.card.name,
                profile=vf.profile,
                epoch=self.epoch,
                memory_free_bytes=self._memory.free,
                arithmetic=tuple(vf.model.arithmetic),
                clock_hz=vf.model.clock_hz,
                limits=Limits() if self.queues is None else self.queues.limits,
            ),
        )

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """As the port says. Raises NotFound for another device or a context that is gone."""
        if device not in ("", self._vf.id):
            raise NotFound(
                f"device {device[: bounds.NAME_BYTES]!r} is not here",
                hint=f"this is {self._vf.id}",
            )
        return self._contexts.find(resume).name if resume else self._contexts.open(self.epoch).name

    async def close_context(self, context: str) -> None:
        """As the port says; a launch under way ends at its next node."""
        closed = self._contexts.close(context, NotFound(f"context {context!r} was closed"))
        if closed is not None:
            self._engine.kernels.stop(closed)

    async def allocate(self, context: str, size: int) -> int:
        """As the port says."""
        return self._contexts.find(context).buffers.allocate(size).number

    async def free(self, context: str, buffer: int) -> None:
        """As the port says."""
        self._contexts.find(context).buffers.free(buffer)

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """As the port says; waits while a launch works on the buffer."""
        check_chunk(len(data), "write")
        target = self._contexts.find(context).buffers.find(buffer)
        check_range(target, offset, len(data), "write")
        await target.idle()
        target.array[offset : offset + len(data)] = np.frombuffer(data, np.uint8)

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """As the port says."""
        check_chunk(length, "read")
        source = self._contexts.find(context).buffers.find(buffer)
        check_range(source, offset, length, "read")
        return source.array[offset : offset + length].tobytes()

    async def load_program(self, context: str, source: OnnxSource | KernelSource) -> Program:
        """As the port says. A model's buffer is pinned while it is read, and not needed after."""
        owner = self._contexts.find(context)
        owner.programs.check_room()
        if isinstance(source, OnnxSource):
            asked = source.arithmetic, source.max_error
            with uploaded(owner.buffers, source) as upload:
                compiled = await self._load(owner, lambda _: self._cache.take(*upload, *asked))
        else:
            compiled = await self._load(
                owner, lambda _: (compile_kernel(source, self._target), True)
            )
        if owner.closed is not None:
            self._cache.release(compiled)
            raise owner.closed
        return owner.programs.add(compiled)

    async def _load(
        self, owner: Context, compile_it: Callable[[ort.RunOptions], tuple[CompiledProgram, bool]]
    ) -> CompiledProgram:
        pending = Pending(self._cache)
        try:
            compiled, fresh = await self._engine.kernels.run(
                owner, lambda stop: pending.keep(compile_it(stop))
            )
        except BaseException:
            pending.abandon()
            raise
        if fresh and compiled.programming is not None:
            self._engine.charge(compiled.programming)
        return compiled

    async def unload_program(self, context: str, program: int) -> None:
        """As the port says."""
        self._contexts.find(context).programs.unload(program)

    async def estimate(self, context: str, program: int, arguments: Mapping[str, Value]) -> Cost:
        """As the port says; inputs whose values steer the graph must come with their data."""
        owner = self._contexts.find(context)
        compiled = owner.programs.find(program)
        shapes, values = estimated(owner, compiled, arguments)
        size = sum(bytes_of(compiled, name, shape) for name, shape in shapes.items())
        self._memory.reserve(size, "inputs of the estimate")
        try:
            return await self._engine.kernels.run(
                owner,
                lambda stop: compiled.estimate(shapes, values, stop),
                bounds.STOP_SECONDS,
            )
        finally:
            self._memory.release(size)

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        """As the port says."""
        self.accept(self._contexts.find(context), stream, first_fence, commands)

    def accept(
        self,
        owner: Context,
        stream: int,
        first_fence: int,
        commands: Sequence[Command],
        sink: Callable[[Completion], None] | None = None,
        promised: Callable[[int], None] | None = None,
        most: int = bounds.INLINE_BYTES,
    ) -> None:
        """``submit`` for who is in this process. With a ``sink`` completions are told, not kept.

        ``promised`` hears how many completions will come before the first of them does. ``most``
        bytes of data may come in the commands.
        """
        check_submission(commands, most)
        queue = owner.stream(stream)
        queue.check_fences(first_fence, commands)
        streams_of = self._contexts.streams_of(owner)
        marks = marks_of(commands, first_fence, queue.accepted + 1, streams_of, self._look)
        count = queue.submit(first_fence, commands, sink, marks)
        owner.accepted(stream, queue.accepted)
        if promised is not None:
            promised(count)
        if queue.head is not None:
            self._engine.begin(owner, queue)

    def pass_nops(self, owner: Context, stream: int, first_fence: int, count: int) -> bool:
        """Do null commands in a row at once, if nothing stands before them; whether it was done."""
        queue = owner.streams.get(stream)
        return queue is not None and self._engine.idle and queue.pass_over(first_fence, count)

    async def run(
        self,
        context: str,
        stream: int,
        first_fence: int,
        commands: Sequence[Command],
        timeout: float,
        acknowledged: int = 0,
    ) -> Progress:
        """As the port says."""
        await self.submit(context, stream, first_fence, commands)
        last = first_fence + len(commands) - 1
        return await self.wait(context, stream, last, timeout, acknowledged)

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        """As the port says; the reply may hold fewer completions than ``reached`` counts."""
        return await self._contexts.find(context).stream(stream).wait(fence, timeout, acknowledged)

    async def lend_queue(self, context: str, slab_bytes: int = 0, after: str = "") -> Lease:
        """As the port says."""
        owner = self._contexts.find(context)
        if self.queues is None:
            raise Unsupported("this VF has no window", hint='open it with path="grpc"')
        await self.queues.stop(owner)
        return self.queues.lend(self._contexts.find(context), slab_bytes, after)

    async def transfer(self, owner: Context, buffer: int, copy: Transfer) -> None:
        """Copy between a buffer and memory that a guest sees, beside the kernels and never with
        one: ``copy(bytes of the buffer)`` runs when no launch works on it.
        """
        target = owner.buffers.find(buffer)
        await target.idle()
        await self._engine.kernels.run(owner, lambda _: copy(target.array))

    # --- helpers ----------------------------------------------------------------------------

    def _look(self) -> bool:
        return self.queues is not None and self.queues.look()

    def _close_all(self, reason: VaccelError) -> None:
        for context in self._contexts:
            self._contexts.close(context.name, reason)
            self._engine.kernels.stop(context)
