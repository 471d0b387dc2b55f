"""A Compute that only chooses which other Compute answers: by device, or by a context's device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    # An agent routes before NumPy is loaded, which these would load.
    from vaccel.commands import Command
    from vaccel.compute import Compute, KernelSource, Lease, OnnxSource, Program, Progress
    from vaccel.model import Cost, Device, Value

T = TypeVar("T")


class RoutingCompute(ABC):
    """See ``vaccel.compute.Compute``. A subclass says who answers, and how patiently to ask."""

    @abstractmethod
    async def devices(self) -> Sequence[Device]:
        """See ``Compute``."""

    @abstractmethod
    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``."""

    @abstractmethod
    async def _ask(self, context: str, call: Callable[[Compute], Awaitable[T]]) -> T:
        """Make a call on whoever holds a context.

        Raises NotFound, or why its device does not answer.
        """

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        await self._ask(context, lambda to: to.close_context(context))

    async def allocate(self, context: str, size: int) -> int:
        """See ``Compute``."""
        return await self._ask(context, lambda to: to.allocate(context, size))

    async def free(self, context: str, buffer: int) -> None:
        """See ``Compute``."""
        await self._ask(context, lambda to: to.free(context, buffer))

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """See ``Compute``."""
        await self._ask(context, lambda to: to.write(context, buffer, offset, data))

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """See ``Compute``."""
        return await self._ask(context, lambda to: to.read(context, buffer, offset, length))

    async def load_program(self, context: str, source: OnnxSource | KernelSource) -> Program:
        """See ``Compute``."""
        return await self._ask(context, lambda to: to.load_program(context, source))

    async def unload_program(self, context: str, program: int) -> None:
        """See ``Compute``."""
        await self._ask(context, lambda to: to.unload_program(context, program))

    async def estimate(self, context: str, program: int, arguments: Mapping[str, Value]) -> Cost:
        """See ``Compute``."""
        return await self._ask(context, lambda to: to.estimate(context, program, arguments))

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        """See ``Compute``."""
        await self._ask(context, lambda to: to.submit(context, stream, first_fence, commands))

    async def run(
        self,
        context: str,
        stream: int,
        first_fence: int,
        commands: Sequence[Command],
        timeout: float,
        acknowledged: int = 0,
    ) -> Progress:
        """See ``Compute``."""
        return await self._ask(
            context,
            lambda to: to.run(context, stream, first_fence, commands, timeout, acknowledged),
        )

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        """See ``Compute``."""
        return await self._ask(
            context, lambda to: to.wait(context, stream, fence, timeout, acknowledged)
        )

    async def lend_queue(self, context: str, slab_bytes: int = 0, after: str = "") -> Lease:
        """See ``Compute``."""
        return await self._ask(context, lambda to: to.lend_queue(context, slab_bytes, after))
