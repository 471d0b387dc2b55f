"""The Compute port: everything that a workload can ask of a VF.

Words
    A **device** is a VF as a program sees it. A **context** owns **buffers** (device memory),
    **programs** (compiled graphs) and **streams** (in-order queues of **commands**); when it
    closes, all of that goes. A **fence** is the number of a command in its stream: to wait for "at
    least n" is one comparison.

Life
    ``devices`` → ``open_context`` → ``allocate``, ``write`` → ``load_program`` → ``submit``
    (returns at once) → ``wait`` (brings completions with results and costs) → ``read`` →
    ``close_context``.

Who implements it
    The worker's executor does the work; ``vaccel.rpc.link`` and ``vaccel.rpc.proxy`` ask for it
    over a private socket and over gRPC; the daemon's and the agent's routers choose which of many
    answers. One conformance suite (``tests/conformance/compute.py``) runs over all of them.

Errors
    Calls raise ``vaccel.errors``; a command's failure arrives in its completion, never as an
    exception. All calls are idempotent, so that a lost reply may be asked for again, save
    ``allocate`` and ``load_program``, of which a repeated one leaves an object that the context's
    end frees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vaccel.commands import Command, Completion
from vaccel.model import Cost, Device, Port, Value


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of a model's external data; ``name`` is the location that its tensors speak of."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """A model that was written to a buffer, as any other data, with its external data beside it.

    ``arithmetic`` is that of its float32 products on the arrays, "" for float32's own;
    ``max_error`` the relative error that a node in analog may have, 0 for no demand. With
    ``take`` the load takes the buffer over: it ends with the call, whatever comes of it, and its
    bytes need not be copied.
    """

    buffer: int
    offset: int
    length: int
    blobs: tuple[Blob, ...] = ()
    take: bool = False
    arithmetic: str = ""
    max_error: float = 0.0


@dataclass(frozen=True, slots=True)
class KernelSource:
    """One kernel by name: a graph with one node.

    ``operands`` give dtype and shape, symbols allowed.
    """

    name: str
    operands: tuple[Port, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program and its signature."""

    id: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weight_bytes: int
    nodes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stream is, and what became of its commands since the last acknowledged one."""

    reached: int
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """A queue pair by number, and a slab: ``slab_bytes`` of the window from ``slab_offset`` on."""

    queue: int
    slab_offset: int
    slab_bytes: int
    window_bytes: int


class Compute(Protocol):
    """See the module's text. Sizes and offsets are bytes, times are seconds."""

    async def devices(self) -> Sequence[Device]:
        """The devices that are reachable here."""

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """A new context on a device ("" is the only one), or a context that outlived its
        connection.
        """

    async def close_context(self, context: str) -> None:
        """Free all that a context owns. Closing one that is gone is no error."""

    async def allocate(self, context: str, size: int) -> int:
        """A buffer of zeros. Raises Exhausted, naming what is free."""

    async def free(self, context: str, buffer: int) -> None:
        """Give a buffer back. Freeing one that is gone is no error."""

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """Put at most ``bounds.CHUNK_BYTES`` into a buffer."""

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """Get at most ``bounds.CHUNK_BYTES`` from a buffer."""

    async def load_program(self, context: str, source: OnnxSource | KernelSource) -> Program:
        """Compile. Raises InvalidModel or Unsupported, naming the node."""

    async def unload_program(self, context: str, program: int) -> None:
        """Forget a program. Unloading one that is gone is no error."""

    async def estimate(self, context: str, program: int, arguments: Mapping[str, Value]) -> Cost:
        """What a launch with such arguments would cost."""

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        """Queue commands; returns when they are accepted, not when they are done.

        ``first_fence`` is one more than the last fence of the stream (a stream starts at 1).
        Commands whose fence the stream has accepted already are passed over, so that a retry is
        safe.
        """

    async def run(
        self,
        context: str,
        stream: int,
        first_fence: int,
        commands: Sequence[Command],
        timeout: float,
        acknowledged: int = 0,
    ) -> Progress:
        """``submit``, then ``wait`` for the last of the commands, in one trip."""

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        """Wait until a stream has reached a fence. Raises TimedOut, and the work goes on.

        Completions after ``acknowledged`` come back; those up to it may be forgotten.
        """

    async def lend_queue(self, context: str, slab_bytes: int = 0, after: str = "") -> Lease:
        """A queue pair and a slab of the VF's window, the context's until it closes.

        Asking again resets the queue pair: its rings are empty, what it had under way is dropped,
        and its slab stays. ``slab_bytes`` 0 is ``bounds.SLAB_BYTES``, or what there is if less.
        ``after`` names a context that a reset ended: its queue pair and slab are kept for
        ``bounds.LEASE_GRACE_SECONDS``, so that what is in the slab stays where it is.
        Raises Exhausted, naming what is free, Unsupported where there is no window.
        """
