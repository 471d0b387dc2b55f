"""The private link's client: the daemon's way to ask a worker."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from vaccel import bounds, errors
from vaccel.inventory import Condition
from vaccel.model import Cost, Usage
from vaccel.rpc import convert, convert_commands, frames
from vaccel.rpc.convert_conditions import conditions_of
from vaccel.rpc.frames import CANCEL, ERROR, REQUEST, Frame, FrameSocket
from vaccel.rpc.methods import METHODS
from vaccel.rpc.remote import RemoteCompute
from vaccel.v1 import types_pb2
from vaccel.v1 import worker_pb2 as pb


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a worker says it is."""

    vf: str
    epoch: int
    pid: int
    contexts: tuple[str, ...]


_CONTROL_REPLIES: dict[str, type[Message]] = {
    "Hello": pb.HelloReply,
    "BeginEpoch": pb.BeginEpochReply,
    "EraseToken": pb.EraseTokenReply,
    "GetUsage": pb.GetUsageReply,
    "GetCondition": pb.GetConditionReply,
    "SetClock": pb.SetClockReply,
    "Recalibrate": pb.RecalibrateReply,
    "Shutdown": pb.ShutdownReply,
}


class LinkCompute(RemoteCompute):
    """One worker's Compute and control methods, over one connection with many calls in flight.

    ``on_lost`` is called once when the worker closes the connection, which is how its death shows.
    """

    def __init__(self, socket_frames: FrameSocket, on_lost: Callable[[], None]) -> None:
        self._frames = socket_frames
        self._on_lost = on_lost
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Frame]] = {}
        self._closed = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Path, on_lost: Callable[[], None]) -> LinkCompute:
        """Connect to a worker's socket. Raises Unavailable where nobody listens."""
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, str(path))
        except OSError as fault:
            sock.close()
            raise errors.Unavailable(f"no worker answers on {path}: {fault}") from None
        return cls(FrameSocket(sock), on_lost)

    async def close(self) -> None:
        """Leave the worker running and forget it."""
        self._closed = True
        self._frames.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while (frame := await self._frames.receive()) is not None:
                future = self._pending.pop(frame.call, None)
                if future is not None and not future.done():
                    future.set_result(frame)
        finally:
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(errors.DeviceLost("the VF's worker has died"))
            self._pending.clear()
            lost, self._closed = not self._closed, True
            if lost:
                self._frames.close()
                self._on_lost()

    async def _call(self, method: str, request: Message, timeout: float) -> Any:
        reply = METHODS[method].reply if method in METHODS else _CONTROL_REPLIES[method]
        frame = await self._exchange(method, request, timeout)
        if frame.kind == ERROR:
            raise convert.error_of(types_pb2.Error.FromString(frame.payload))
        return reply.FromString(frame.payload)

    async def _exchange(self, method: str, request: Message, timeout: float) -> Frame:
        if self._closed:
            raise errors.DeviceLost("the VF's worker has died")
        number = next(self._numbers)
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            payload = request.SerializeToString()
            async with asyncio.timeout(timeout):
                await self._frames.send(Frame(number, REQUEST, method, payload))
                return await future
        except TimeoutError:
            self._cancel(number)
            raise errors.TimedOut(f"{method}: the worker took more than {timeout:g} s") from None
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        except OSError as fault:
            raise errors.DeviceLost(f"the VF's worker has died: {fault}") from None
        finally:
            self._pending.pop(number, None)

    def _cancel(self, number: int) -> None:
        """Tell the worker, without waiting for one that may hang."""
        if not self._closed:
            self._frames.post(Frame(number, CANCEL, "", b""))

    async def hello(self) -> Hello:
        """Who answers."""
        reply = await self._call("Hello", pb.HelloRequest(), bounds.CALL_SECONDS)
        return Hello(reply.vf, reply.epoch, reply.pid, tuple(reply.contexts))

    async def begin_epoch(self, epoch: int, header: bytes) -> None:
        """Start a new epoch: contexts close, the window's header is new."""
        request = pb.BeginEpochRequest(epoch=epoch, header=header)
        await self._call("BeginEpoch", request, bounds.CALL_SECONDS)

    async def erase_token(self) -> None:
        """Wipe the one-time token from the window."""
        await self._call("EraseToken", pb.EraseTokenRequest(), bounds.CALL_SECONDS)

    async def usage(self) -> Usage:
        """What the VF holds and has done."""
        reply = await self._call("GetUsage", pb.GetUsageRequest(), bounds.CALL_SECONDS)
        return convert.usage_of(reply.usage)

    async def condition(self) -> Sequence[Condition]:
        """How the device's cells are."""
        reply = await self._call("GetCondition", pb.GetConditionRequest(), bounds.COMPUTE_SECONDS)
        return conditions_of(reply.conditions)

    async def set_clock(self, seconds: float) -> None:
        """Move the card's clock."""
        request = pb.SetClockRequest(seconds=seconds)
        await self._call("SetClock", request, bounds.COMPUTE_SECONDS)

    async def recalibrate(self) -> Cost:
        """Compensate drift; what it cost."""
        reply = await self._call("Recalibrate", pb.RecalibrateRequest(), bounds.COMPUTE_SECONDS)
        return convert_commands.cost_of(reply.cost)

    async def shutdown(self) -> None:
        """Ask the worker to end."""
        await self._call("Shutdown", pb.ShutdownRequest(), bounds.WORKER_STOP_SECONDS)


def fetch_window(path: Path, timeout: float = bounds.CALL_SECONDS) -> tuple[int, int, int]:
    """(memfd, eventfd, journal) of a worker's window, over a connection of its own. Blocking.

    The descriptors are the caller's to close. Raises Unavailable.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
            request = pb.ShareWindowRequest().SerializeToString()
            sock.sendall(Frame(1, REQUEST, "ShareWindow", request).encode())
            data, found, _, _ = socket.recv_fds(
                sock, frames.HEADER.size, 3, socket.MSG_CMSG_CLOEXEC
            )
            kind = frames.parse(data)[2]
        except (OSError, ValueError) as fault:
            raise errors.Unavailable(f"no window from the worker on {path}: {fault}") from None
    if kind == ERROR or len(found) != 3:
        for descriptor in found:
            os.close(descriptor)
        raise errors.Unavailable(f"no window from the worker on {path}: it sent no descriptors")
    return found[0], found[1], found[2]
