"""A Compute that asks another process: everything but the transport, which a subclass supplies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from vaccel import bounds
from vaccel.commands import Command
from vaccel.compute import KernelSource, Lease, OnnxSource, Program, Progress
from vaccel.model import Cost, Device, Value
from vaccel.rpc import convert, convert_commands, convert_values
from vaccel.rpc.methods import METHODS
from vaccel.v1 import compute_pb2 as pb

# A peer needs a moment beyond the wait itself to answer that it timed out.
_MARGIN_SECONDS = 5.0


class RemoteCompute(ABC):
    """Implements ``vaccel.compute.Compute`` over ``_call``."""

    @abstractmethod
    async def _call(self, method: str, request: Message, timeout: float) -> Any:
        """Send a request, return the reply.

        Raises what the peer raised, or Unavailable, TimedOut.
        """

    async def _ask(self, method: str, request: Message) -> Any:
        return await self._call(method, request, METHODS[method].seconds)

    async def devices(self) -> Sequence[Device]:
        """See ``Compute``."""
        reply = await self._ask("ListDevices", pb.ListDevicesRequest())
        return [convert.device_of(device) for device in reply.devices]

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``."""
        request = pb.OpenContextRequest(device=device, resume=resume)
        reply = await self._ask("OpenContext", request)
        return str(reply.context)

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        await self._ask("CloseContext", pb.CloseContextRequest(context=context))

    async def allocate(self, context: str, size: int) -> int:
        """See ``Compute``."""
        reply = await self._ask("Allocate", pb.AllocateRequest(context=context, size=size))
        return int(reply.buffer)

    async def free(self, context: str, buffer: int) -> None:
        """See ``Compute``."""
        await self._ask("Free", pb.FreeRequest(context=context, buffer=buffer))

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """See ``Compute``."""
        request = pb.WriteRequest(context=context, buffer=buffer, offset=offset, data=bytes(data))
        await self._ask("Write", request)

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """See ``Compute``."""
        request = pb.ReadRequest(context=context, buffer=buffer, offset=offset, length=length)
        reply = await self._ask("Read", request)
        return bytes(reply.data)

    async def load_program(self, context: str, source: OnnxSource | KernelSource) -> Program:
        """See ``Compute``."""
        request = convert.to_program_request(context, source)
        return convert.program_of(await self._ask("LoadProgram", request))

    async def unload_program(self, context: str, program: int) -> None:
        """See ``Compute``."""
        request = pb.UnloadProgramRequest(context=context, program=program)
        await self._ask("UnloadProgram", request)

    async def estimate(self, context: str, program: int, arguments: Mapping[str, Value]) -> Cost:
        """See ``Compute``."""
        request = pb.EstimateCostRequest(
            context=context, program=program, arguments=convert_values.to_values(arguments)
        )
        reply = await self._ask("EstimateCost", request)
        return convert_commands.cost_of(reply.cost)

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Command]
    ) -> None:
        """See ``Compute``."""
        request = pb.SubmitRequest(
            context=context,
            stream=stream,
            first_fence=first_fence,
            commands=[convert_commands.to_command(command) for command in commands],
        )
        await self._ask("Submit", request)

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
        timeout = min(timeout, bounds.WAIT_SECONDS)
        request = pb.RunRequest(
            context=context,
            stream=stream,
            first_fence=first_fence,
            commands=[convert_commands.to_command(command) for command in commands],
            timeout_ns=int(timeout * 1e9),
            acknowledged=acknowledged,
        )
        reply = await self._call("Run", request, timeout + _MARGIN_SECONDS)
        return convert_commands.progress_of(reply)

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        """See ``Compute``."""
        timeout = min(timeout, bounds.WAIT_SECONDS)
        request = pb.WaitRequest(
            context=context,
            stream=stream,
            fence=fence,
            timeout_ns=int(timeout * 1e9),
            acknowledged=acknowledged,
        )
        reply = await self._call("Wait", request, timeout + _MARGIN_SECONDS)
        return convert_commands.progress_of(reply)

    async def lend_queue(self, context: str, slab_bytes: int = 0, after: str = "") -> Lease:
        """See ``Compute``."""
        request = pb.LendQueueRequest(context=context, slab_bytes=slab_bytes, after=after)
        reply = await self._ask("LendQueue", request)
        return Lease(reply.queue, reply.slab_offset, reply.slab_bytes, reply.window_bytes)
