"""Serving the Admin service over any ``Operations``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from vaccel import bounds
from vaccel.errors import InvalidArgument
from vaccel.inventory import Output
from vaccel.operations import ExecRequest, Operations, VMRequest
from vaccel.rpc import convert_admin as convert
from vaccel.rpc.convert_commands import to_cost
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Admit, Implementation, add_service
from vaccel.v1 import admin_pb2 as pb

if TYPE_CHECKING:
    import grpc


class _Answers:
    """One coroutine or generator per method; all take (principal, request)."""

    def __init__(self, operations: Operations) -> None:
        self._do = operations

    async def get_status(self, _who: Any, _request: pb.GetStatusRequest) -> Message:
        return convert.to_status(await self._do.status())

    async def list_pfs(self, _who: Any, _request: pb.ListPFsRequest) -> Message:
        return pb.ListPFsReply(pfs=[convert.to_pf(pf) for pf in await self._do.pfs()])

    async def create_vf(self, _who: Any, request: pb.CreateVFRequest) -> Message:
        vf = await self._do.create_vf(
            request.profile, request.pf, request.name, request.tenant, request.seed
        )
        return convert.to_vf(vf)

    async def list_vfs(self, _who: Any, _request: pb.ListVFsRequest) -> Message:
        return pb.ListVFsReply(vfs=[convert.to_vf(vf) for vf in await self._do.vfs()])

    async def get_vf(self, _who: Any, request: pb.GetVFRequest) -> Message:
        return convert.to_vf(await self._do.vf(request.vf))

    async def destroy_vf(self, _who: Any, request: pb.DestroyVFRequest) -> Message:
        await self._do.destroy_vf(request.vf, request.force)
        return pb.DestroyVFReply()

    async def attach_vf(self, _who: Any, request: pb.AttachVFRequest) -> AsyncIterator[Message]:
        to = request.WhichOneof("to")
        if to is None or (to == "vm" and not request.vm) or (to == "local" and not request.local):
            raise InvalidArgument(
                f"attach of {request.vf[: bounds.NAME_BYTES]!r}: neither a vm nor local is given",
                hint="name a VM, or set local",
            )
        async for event in self._do.attach_vf(request.vf, request.vm, not request.no_wait):
            yield convert.to_vf_event(event)

    async def detach_vf(self, _who: Any, request: pb.DetachVFRequest) -> AsyncIterator[Message]:
        async for event in self._do.detach_vf(request.vf, request.force):
            yield convert.to_vf_event(event)

    async def start_vm(self, _who: Any, request: pb.StartVMRequest) -> AsyncIterator[Message]:
        wanted = VMRequest(
            request.name,
            request.image,
            request.memory_bytes,
            request.cpus,
            request.data_dir,
            request.tenant,
            not request.no_wait,
        )
        async for event in self._do.start_vm(wanted):
            yield convert.to_vm_event(event)

    async def list_vms(self, _who: Any, _request: pb.ListVMsRequest) -> Message:
        return pb.ListVMsReply(vms=[convert.to_vm(vm) for vm in await self._do.vms()])

    async def stop_vm(self, _who: Any, request: pb.StopVMRequest) -> Message:
        await self._do.stop_vm(request.name, request.force)
        return pb.StopVMReply()

    async def read_console(
        self, _who: Any, request: pb.ReadConsoleRequest
    ) -> AsyncIterator[Message]:
        async for data in self._do.console(request.name, request.follow):
            yield pb.ReadConsoleReply(data=data)

    async def exec_vm(self, _who: Any, request: pb.ExecVMRequest) -> AsyncIterator[Message]:
        if len(request.stdin) > bounds.EXEC_STDIN_BYTES:
            raise InvalidArgument(
                f"exec: {len(request.stdin)} bytes of standard input are more than"
                f" {bounds.EXEC_STDIN_BYTES}"
            )
        wanted = ExecRequest(
            request.name,
            tuple(request.command),
            request.user,
            request.stdin,
            request.timeout_seconds,
        )
        async for event in self._do.exec_vm(wanted):
            if not isinstance(event, Output):
                yield pb.ExecVMReply(exit_code=event)
                continue
            for start in range(0, len(event.data), bounds.CHUNK_BYTES):
                chunk = event.data[start : start + bounds.CHUNK_BYTES]
                if event.stream == "stdout":
                    yield pb.ExecVMReply(stdout=chunk)
                else:
                    yield pb.ExecVMReply(stderr=chunk)

    async def build_image(self, _who: Any, request: pb.BuildImageRequest) -> AsyncIterator[Message]:
        async for event in self._do.build_image(request.recipe, request.rebuild):
            yield convert.to_image_event(event)

    async def list_images(self, _who: Any, _request: pb.ListImagesRequest) -> Message:
        return pb.ListImagesReply(images=[convert.to_image(i) for i in await self._do.images()])

    async def advance_clock(self, _who: Any, request: pb.AdvanceClockRequest) -> Message:
        return convert.to_pf(await self._do.advance_clock(request.pf, request.seconds))

    async def recalibrate_vf(self, _who: Any, request: pb.RecalibrateVFRequest) -> Message:
        vf, cost = await self._do.recalibrate_vf(request.vf)
        return pb.RecalibrateVFReply(vf=convert.to_vf(vf), cost=to_cost(cost))


def add_admin(server: grpc.aio.Server, operations: Operations, admit: Admit) -> None:
    """Register the Admin service on a server."""
    do = _Answers(operations)
    call, boot = bounds.CALL_SECONDS, bounds.VM_BOOT_SECONDS + bounds.ENROL_SECONDS
    work = bounds.COMPUTE_SECONDS
    implementations = {
        "GetStatus": Implementation(do.get_status, call),
        "ListPFs": Implementation(do.list_pfs, call),
        "CreateVF": Implementation(do.create_vf, bounds.WORKER_START_SECONDS + call),
        "ListVFs": Implementation(do.list_vfs, call),
        "GetVF": Implementation(do.get_vf, call),
        "DestroyVF": Implementation(do.destroy_vf, bounds.VM_STOP_SECONDS + work),
        "AttachVF": Implementation(do.attach_vf, boot),
        "DetachVF": Implementation(do.detach_vf, bounds.VM_STOP_SECONDS + call),
        "StartVM": Implementation(do.start_vm, bounds.IMAGE_BUILD_SECONDS + boot),
        "ListVMs": Implementation(do.list_vms, call),
        "StopVM": Implementation(do.stop_vm, bounds.VM_STOP_SECONDS + work),
        "ReadConsole": Implementation(do.read_console, None),
        "ExecVM": Implementation(do.exec_vm, None),
        "BuildImage": Implementation(do.build_image, bounds.IMAGE_BUILD_SECONDS),
        "AdvanceClock": Implementation(do.advance_clock, work),
        "RecalibrateVF": Implementation(do.recalibrate_vf, work),
        "ListImages": Implementation(do.list_images, call),
    }
    add_service(server, SERVICES["Admin"], implementations, admit)
