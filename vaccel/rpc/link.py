"""The private link's server: a worker answers Compute and its own control methods on a unix socket.

No grpc here: a worker never imports it. The daemon's end is ``vaccel.rpc.link_client``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError, Message

from vaccel import bounds, errors
from vaccel.compute import Compute
from vaccel.inventory import Condition
from vaccel.model import Cost, Usage
from vaccel.rpc import convert, convert_commands
from vaccel.rpc.convert_conditions import to_conditions
from vaccel.rpc.frames import CANCEL, ERROR, REPLY, REQUEST, Frame, FrameSocket
from vaccel.rpc.methods import METHODS
from vaccel.v1 import worker_pb2 as pb

log = logging.getLogger(__name__)


class WorkerControl(Protocol):
    """What the daemon asks of a worker beside Compute."""

    def hello(self) -> tuple[str, int, int, list[str]]:
        """(VF id, epoch, pid, open contexts)."""

    def share_window(self) -> tuple[int, int, int]:
        """(window's memfd, worker's eventfd, journal's memfd); they stay the worker's own."""

    async def begin_epoch(self, epoch: int, header: bytes) -> None:
        """Close every context and write the window's header anew."""

    def erase_token(self) -> None:
        """Wipe the one-time token from the window's header."""

    def usage(self) -> Usage:
        """What the VF holds and has done."""

    async def condition(self) -> Sequence[Condition]:
        """How the device's cells are; nothing where it has none that remember."""

    async def set_clock(self, seconds: float) -> None:
        """Move the card's clock. Raises InvalidArgument where it would go backwards."""

    async def recalibrate(self) -> Cost:
        """Compensate drift; what it cost."""

    def shutdown(self) -> None:
        """End the process once this call is answered."""


CONTROL: Final[dict[str, type[Message]]] = {
    "Hello": pb.HelloRequest,
    "ShareWindow": pb.ShareWindowRequest,
    "BeginEpoch": pb.BeginEpochRequest,
    "EraseToken": pb.EraseTokenRequest,
    "GetUsage": pb.GetUsageRequest,
    "GetCondition": pb.GetConditionRequest,
    "SetClock": pb.SetClockRequest,
    "Recalibrate": pb.RecalibrateRequest,
    "Shutdown": pb.ShutdownRequest,
}

# Of devices whose cells remember: they wait for the launch under way.
_CELLS: Final = frozenset({"GetCondition", "SetClock", "Recalibrate"})


async def serve_link(listener: socket.socket, compute: Compute, control: WorkerControl) -> None:
    """Answer connections on a listening unix socket until cancelled.

    A connection that ends cancels its own calls and nothing else: contexts outlive it, so that a
    restarted daemon finds them.
    """
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while True:
            sock, _ = await loop.sock_accept(listener)
            group.create_task(_Connection(FrameSocket(sock), compute, control).run())


class _Connection:
    def __init__(self, frames: FrameSocket, compute: Compute, control: WorkerControl) -> None:
        self._frames = frames
        self._compute = compute
        self._control = control
        self._calls: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while (frame := await self._frames.receive()) is not None:
                self._take(frame)
        except errors.Unavailable as fault:
            log.warning("%s", fault)
        finally:
            for task in self._calls.values():
                task.cancel()
            await asyncio.gather(*self._calls.values(), return_exceptions=True)
            self._frames.close()

    def _take(self, frame: Frame) -> None:
        if frame.kind == CANCEL:
            if task := self._calls.get(frame.call):
                task.cancel()
        elif frame.kind == REQUEST and frame.call not in self._calls:
            task = asyncio.create_task(self._answer(frame))
            self._calls[frame.call] = task
            task.add_done_callback(lambda _: self._calls.pop(frame.call, None))

    async def _answer(self, frame: Frame) -> None:
        descriptors: tuple[int, ...] = ()
        try:
            if len(self._calls) > bounds.LINK_CALLS:
                raise errors.Exhausted(f"more than {bounds.LINK_CALLS} calls in flight")
            if frame.name in CONTROL:
                reply, descriptors = await self._serve_control(frame)
            else:
                reply = await self._serve_compute(frame)
            answer = Frame(frame.call, REPLY, frame.name, reply.SerializeToString())
        except asyncio.CancelledError:
            raise
        except errors.VaccelError as error:
            answer = _failure(frame, error)
        except DecodeError as fault:
            answer = _failure(frame, errors.InvalidArgument(f"{frame.name}: {fault}"))
        except Exception as fault:  # the border: what is not ours is a bug, and says so
            log.exception("bug in %s", frame.name)
            answer = _failure(frame, errors.Internal(f"{frame.name}: {fault!r}"))
        try:
            await self._frames.send(answer, descriptors)
        except OSError:
            log.info("peer left before the answer to %s", frame.name)

    async def _serve_compute(self, frame: Frame) -> Message:
        method = METHODS.get(frame.name)
        if method is None:
            raise errors.Unsupported(f"unknown method {frame.name[:80]!r}")
        async with asyncio.timeout(method.seconds):
            return await method.serve(self._compute, method.request.FromString(frame.payload))

    async def _serve_control(self, frame: Frame) -> tuple[Message, tuple[int, ...]]:
        request: Any = CONTROL[frame.name].FromString(frame.payload)
        control = self._control
        if frame.name in _CELLS:
            return await self._serve_cells(frame.name, request), ()
        match frame.name:
            case "Hello":
                vf, epoch, pid, contexts = control.hello()
                return pb.HelloReply(vf=vf, epoch=epoch, pid=pid, contexts=contexts), ()
            case "ShareWindow":
                return pb.ShareWindowReply(), control.share_window()
            case "BeginEpoch":
                await control.begin_epoch(request.epoch, request.header)
                return pb.BeginEpochReply(), ()
            case "EraseToken":
                control.erase_token()
                reply: Message = pb.EraseTokenReply()
            case "GetUsage":
                reply = pb.GetUsageReply(usage=convert.to_usage(control.usage()))
            case _:
                control.shutdown()
                reply = pb.ShutdownReply()
        return reply, ()

    async def _serve_cells(self, name: str, request: Any) -> Message:
        control = self._control
        async with asyncio.timeout(bounds.COMPUTE_SECONDS):
            match name:
                case "GetCondition":
                    found = await control.condition()
                    return pb.GetConditionReply(conditions=to_conditions(found))
                case "SetClock":
                    await control.set_clock(request.seconds)
                    return pb.SetClockReply()
                case _:
                    cost = await control.recalibrate()
                    return pb.RecalibrateReply(cost=convert_commands.to_cost(cost))


def _failure(frame: Frame, error: errors.VaccelError) -> Frame:
    payload = convert.to_error(error).SerializeToString()
    return Frame(frame.call, ERROR, frame.name, payload)
