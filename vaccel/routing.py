"""A Compute that only chooses which other Compute answers.

By device, or by the context's device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from vaccel.commands import Command
from vaccel.compute import Compute, KernelSource, OnnxSource, Program, Progress
from vaccel.model import Cost, Device, Value


class RoutingCompute(ABC):
    """See ``vaccel.compute.Compute``; a subclass says who answers."""

    @abstractmethod
    async def devices(self) -> Sequence[Device]:
        """See ``Compute``."""

    @abstractmethod
    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``."""

    @abstractmethod
    def _of(self, context: str) -> Compute:
        """Who holds a context. Raises NotFound, or why its device does not answer."""

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        await self._of(context).close_context(context)

    async def allocate(self, context: str, size: int) -> int:
        """See ``Compute``."""
        return await self._of(context).allocate(context, size)

    async def free(self, context: str, buffer: int) -> None:
        """See ``Compute``."""
        await self._of(context).free(context, buffer)

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """See ``Compute``."""
        await self._of(context).write(context, buffer, offset, data)

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """See ``Compute``."""
        return await self._of(context).read(context, buffer, offset, length)

    async def load_program(self, context: str, source: OnnxSource | KernelSource) -> Program:
        """See ``Compute``."""
        return await self._of(context).load_program(context, source)

    async def unload_program(self, context: str, program: int) -> None:
        """See ``Compute``."""
        await self._of(context).unload_program(context, program)

    async def estimate(self, context: str, program: int, arguments: Mapping[str, Value]) -> Cost:
        """See ``Compute``."""
        return await self._of(context).estimate(context, program, arguments)

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        """See ``Compute``."""
        await self._of(context).submit(context, stream, first_fence, commands)

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
        return await self._of(context).run(
            context, stream, first_fence, commands, timeout, acknowledged
        )

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        """See ``Compute``."""
        return await self._of(context).wait(context, stream, fence, timeout, acknowledged)
