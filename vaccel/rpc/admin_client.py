"""``Operations`` over gRPC: what vaccelctl asks of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from vaccel import bounds, errors
from vaccel.inventory import PF, VF, VM, Image, Output, Status
from vaccel.model import Cost
from vaccel.operations import ExecRequest, Progress, VMRequest
from vaccel.rpc import convert_admin as convert
from vaccel.rpc.convert_commands import cost_of
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Stub
from vaccel.v1 import admin_pb2 as pb

if TYPE_CHECKING:
    import grpc

_CALL = bounds.CALL_SECONDS
# Long operations end by the server's own bound; this side only outlasts it.
_LONG = bounds.IMAGE_BUILD_SECONDS + bounds.COMPUTE_SECONDS


class GrpcOperations:
    """See ``vaccel.operations.Operations``."""

    def __init__(self, channel: grpc.aio.Channel, peer: str) -> None:
        self._channel = channel
        self._peer = peer
        self._stub = Stub(channel, SERVICES["Admin"], f"vacceld at {peer}")

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def wait_healthy(self, timeout: float) -> None:
        """Until the daemon serves. Raises TimedOut."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        await self.status()
                        return
                    except errors.Unavailable:
                        await asyncio.sleep(bounds.BACKOFF_FIRST_SECONDS)
        except TimeoutError:
            raise errors.TimedOut(f"no vacceld at {self._peer} within {timeout:g} s") from None

    async def status(self) -> Status:
        """See ``Operations``."""
        return convert.status_of(await self._stub.unary("GetStatus", pb.GetStatusRequest(), _CALL))

    async def pfs(self) -> Sequence[PF]:
        """See ``Operations``."""
        reply = await self._stub.unary("ListPFs", pb.ListPFsRequest(), _CALL)
        return [convert.pf_of(pf) for pf in reply.pfs]

    async def create_vf(
        self, profile: str, pf: str, name: str, tenant: str, seed: str = ""
    ) -> VF:
        """See ``Operations``."""
        request = pb.CreateVFRequest(profile=profile, pf=pf, name=name, tenant=tenant, seed=seed)
        return convert.vf_of(await self._stub.unary("CreateVF", request, _LONG))

    async def vfs(self) -> Sequence[VF]:
        """See ``Operations``."""
        reply = await self._stub.unary("ListVFs", pb.ListVFsRequest(), _CALL)
        return [convert.vf_of(vf) for vf in reply.vfs]

    async def vf(self, vf: str) -> VF:
        """See ``Operations``."""
        return convert.vf_of(await self._stub.unary("GetVF", pb.GetVFRequest(vf=vf), _CALL))

    async def destroy_vf(self, vf: str, force: bool) -> None:
        """See ``Operations``."""
        await self._stub.unary("DestroyVF", pb.DestroyVFRequest(vf=vf, force=force), _LONG)

    async def attach_vf(self, vf: str, vm: str, wait: bool) -> AsyncIterator[Progress | VF]:
        """See ``Operations``."""
        request = pb.AttachVFRequest(vf=vf, no_wait=not wait)
        if vm:
            request.vm = vm
        else:
            request.local = True
        async for event in self._stub.stream("AttachVF", request, _LONG):
            yield _vf_event(event)

    async def detach_vf(self, vf: str, force: bool) -> AsyncIterator[Progress | VF]:
        """See ``Operations``."""
        request = pb.DetachVFRequest(vf=vf, force=force)
        async for event in self._stub.stream("DetachVF", request, _LONG):
            yield _vf_event(event)

    async def start_vm(self, request: VMRequest) -> AsyncIterator[Progress | VM]:
        """See ``Operations``."""
        message = pb.StartVMRequest(
            name=request.name,
            image=request.image,
            memory_bytes=request.memory_bytes,
            cpus=request.cpus,
            data_dir=request.data_dir,
            tenant=request.tenant,
            no_wait=not request.wait,
        )
        async for event in self._stub.stream("StartVM", message, _LONG):
            if event.WhichOneof("event") == "vm":
                yield convert.vm_of(event.vm)
            else:
                yield convert.progress_of(event.progress)

    async def vms(self) -> Sequence[VM]:
        """See ``Operations``."""
        reply = await self._stub.unary("ListVMs", pb.ListVMsRequest(), _CALL)
        return [convert.vm_of(vm) for vm in reply.vms]

    async def stop_vm(self, name: str, force: bool) -> None:
        """See ``Operations``."""
        await self._stub.unary("StopVM", pb.StopVMRequest(name=name, force=force), _LONG)

    async def console(self, name: str, follow: bool) -> AsyncIterator[bytes]:
        """See ``Operations``."""
        request = pb.ReadConsoleRequest(name=name, follow=follow)
        async for reply in self._stub.stream("ReadConsole", request, None):
            yield reply.data

    async def exec_vm(self, request: ExecRequest) -> AsyncIterator[Output | int]:
        """See ``Operations``."""
        message = pb.ExecVMRequest(
            name=request.name,
            command=request.command,
            user=request.user,
            stdin=request.stdin,
            timeout_seconds=request.timeout_seconds,
        )
        async for reply in self._stub.stream("ExecVM", message, None):
            which = reply.WhichOneof("event")
            if which == "exit_code":
                yield int(reply.exit_code)
            else:
                yield Output(which, getattr(reply, which))

    async def build_image(self, recipe: str, rebuild: bool) -> AsyncIterator[Progress | Image]:
        """See ``Operations``."""
        request = pb.BuildImageRequest(recipe=recipe, rebuild=rebuild)
        async for event in self._stub.stream("BuildImage", request, _LONG):
            if event.WhichOneof("event") == "image":
                yield convert.image_of(event.image)
            else:
                yield convert.progress_of(event.progress)

    async def advance_clock(self, pf: str, seconds: float) -> PF:
        """See ``Operations``."""
        request = pb.AdvanceClockRequest(pf=pf, seconds=seconds)
        return convert.pf_of(await self._stub.unary("AdvanceClock", request, _LONG))

    async def recalibrate_vf(self, vf: str) -> tuple[VF, Cost]:
        """See ``Operations``."""
        request = pb.RecalibrateVFRequest(vf=vf)
        reply = await self._stub.unary("RecalibrateVF", request, _LONG)
        return convert.vf_of(reply.vf), cost_of(reply.cost)

    async def images(self) -> Sequence[Image]:
        """See ``Operations``."""
        reply = await self._stub.unary("ListImages", pb.ListImagesRequest(), _CALL)
        return [convert.image_of(image) for image in reply.images]


def _vf_event(event: Any) -> Progress | VF:
    if event.WhichOneof("event") == "vf":
        return convert.vf_of(event.vf)
    return convert.progress_of(event.progress)
