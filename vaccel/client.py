"""The SDK: blocking, NumPy in and out.

>>> device = vaccel.open()
>>> model = device.load("model.onnx")
>>> outputs = model(input=array)            # a dict of arrays by name, with ``.cost``

A program that wants more control allocates buffers, submits commands to streams and waits for
fences; the words are those of ``vaccel.compute``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vaccel import binding, errors, forks, given, loop, model, plain
from vaccel.aperture.status import Status
from vaccel.aperture.status import read as read_status
from vaccel.buffer import Buffer
from vaccel.commands import Result
from vaccel.compute import KernelSource
from vaccel.fastpath.calls import Calls, Done
from vaccel.fastpath.compute import ApertureCompute
from vaccel.fastpath.queue import AppQueue
from vaccel.kernel_calls import KernelCalls
from vaccel.kernels.declaration import setting_text
from vaccel.loaded_model import Call, Model, Outputs
from vaccel.model import Array, Cost, Port, Value
from vaccel.rpc import address as addresses
from vaccel.rpc.proxy import GrpcCompute
from vaccel.session import Session
from vaccel.stream import Fence, Stream
from vaccel.uploads import Data, ModelSource

PATHS = ("auto", "aperture", "grpc")


def open(
    device: str = "", *, address: str = "", path: str = "auto", staging_bytes: int = 0
) -> Device:
    """Open a VF. In a guest nothing needs to be said; elsewhere give the address of its socket.

    ``device`` is a VF's id and defaults to the environment's VACCELD_DEVICE, then to the only one.
    ``address`` defaults to the environment's VACCELD_ADDRESS, then to the guest agent's socket.
    ``path`` is how commands and tensors travel: "aperture" (shared memory), "grpc", or "auto" for
    the best there is; the device's ``path`` says which it became. ``staging_bytes`` is the share of
    the window that is asked for, 0 for the usual one. Raises Unavailable where nobody answers,
    NotFound for an unknown device, InvalidArgument where several need a choice.
    """
    if path not in PATHS:
        raise errors.InvalidArgument(f"path {path!r} is none", hint=f"one of {', '.join(PATHS)}")
    wanted = given.text("device", device) or os.environ.get("VACCELD_DEVICE", "")
    where = given.text("address", address or os.environ.get("VACCELD_ADDRESS") or addresses.AGENT)
    return loop.run(Device._open(where, wanted, path, staging_bytes))


class Device:
    """A VF, in one context of its own. Closing it frees all that was made through it."""

    def __init__(self, channel: Any, compute: GrpcCompute, session: Session, info: model.Device):
        self._channel = channel
        self._compute = compute
        self._session = session
        self._stream = session.stream()
        self._kernels = KernelCalls(self)
        self._calls: Calls | None = None
        self.info = info

    @classmethod
    async def _open(cls, where: str, device: str, path: str, staging_bytes: int) -> Device:
        channel = addresses.open_channel(where)
        try:
            if path == "grpc":
                compute = GrpcCompute(channel, peer=where, keeps=True)
            else:
                required = path == "aperture"
                compute = ApertureCompute(
                    channel, where, required=required, slab_bytes=staging_bytes
                )
            context = await compute.open_context(device)
            info = _choose(await compute.devices(), device)
        except BaseException:
            await channel.close(None)
            raise
        reopen = functools.partial(compute.reopen, device=device)
        return cls(channel, compute, Session(compute, context, reopen, info.id), info)

    @property
    def _queue(self) -> AppQueue | None:
        """The queue pair, where there is one; after a reset of the VF another, in its place.

        One that broke is lent again.
        """
        forks.check()
        compute, session = self._compute, self._session
        if not isinstance(compute, ApertureCompute):
            return None
        if (queue := compute.queue(session.context)) is None:
            lost = compute.end_of(session.context)
            if isinstance(lost, errors.DeviceLost):
                loop.run(session.renew(lost))
            elif isinstance(lost, errors.WrongState):
                loop.run(compute.mend(session.context))
            queue = compute.queue(session.context)
        return queue

    def _refresh(self) -> None:
        """Where a reset is known, get over it before commands name what is in the context."""
        if self._queue is None and self._session.is_lost:
            loop.run(self._session.ready())

    @property
    def _caller(self) -> Calls | None:
        """Calls over the queue pair, where there is one."""
        if (queue := self._queue) is None:
            return None
        if self._calls is None or self._calls.queue is not queue:
            self._calls = Calls(self._session, queue)
        return self._calls

    def _call_again(
        self, program: int, key: plain.Key, arrays: Sequence[Array], timeout: float
    ) -> Done | None:
        """One launch with arrays that need no look; None where that must go another way."""
        if (calls := self._caller) is None:
            return None
        return calls.again(self._session.programs.number(program), key, arrays, timeout)

    def _call(
        self,
        program: int,
        values: Mapping[str, Value],
        timeout: float,
        results: Sequence[Result] = (),
        *,
        key: plain.Key | None = None,
        small: bool = True,
    ) -> Done:
        """One launch from values to arrays, by the shortest way that there is. Not ``small``: what
        comes back may be more than a reply in the slab holds.
        """
        if small and (calls := self._caller) is not None:
            number = self._session.programs.number(program)
            done = calls.call(number, values, timeout, results, key)
            if done is not None:
                return done
        run = self._session.run(self._stream, program, values, timeout, results)
        arrays, cost = loop.run(run)
        return arrays, lambda: cost

    @property
    def path(self) -> str:
        """How commands and tensors travel now: "aperture" or "grpc"."""
        compute = self._compute
        fast = isinstance(compute, ApertureCompute) and compute.queue(self._session.context)
        return "aperture" if fast else "grpc"

    @property
    def status(self) -> Status | None:
        """What the worker says of itself in the window: queue pairs, slabs, counters. None where
        there is no window. For people; it decides nothing. Raises Unavailable while it is written.
        """
        compute = self._compute
        if not isinstance(compute, ApertureCompute):
            return None
        queue = compute.queue(self._session.context)
        return None if queue is None else read_status(queue.window)

    @property
    def staging_bytes(self) -> int:
        """The share of the window that it has, for staging arrays and calls; 0 over gRPC."""
        return 0 if (queue := self._queue) is None else queue.lease.slab_bytes

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<vaccel.Device {self.info.id} {self.info.profile.name} over {self.path}>"

    def close(self) -> None:
        """Free everything; the device cannot be used after. Closing it again does nothing, and so
        does closing it in a forked child: it is the parent's.
        """
        if not self._session.is_closed and not forks.is_child():
            loop.run(self._close())

    async def _close(self) -> None:
        await self._session.close()
        await self._compute.close()
        await self._channel.close()

    def load(
        self,
        source: str | os.PathLike[str] | bytes,
        data: Mapping[str, Data] | None = None,
        *,
        arithmetic: str = "",
        max_error: float | None = None,
    ) -> Model:
        """Load an ONNX model or a program file (.vxp), from a path or from its bytes.

        External data of a model comes from ``data`` by its location, bytes or paths, or else from
        files within the model's folder; links are not followed. ``arithmetic`` is what its products
        of float32 compute in on the arrays: "bf16", "fp16", "int8" and what else the card has; by
        default in float32, or as the program file says. ``max_error`` is the relative error that
        each of its nodes may have that the card computes in analog, and that states none of its
        own: 0.1 is ten percent. Raises InvalidModel; Unsupported, also for a program file of
        another card or profile, for an arithmetic that the card lacks, and for an error that it
        cannot keep; Exhausted naming the bytes that the VF has no room for.
        """
        most = 0.0 if max_error is None else given.share("load: max_error", max_error)
        where: memoryview | Path
        if isinstance(source, bytes):
            name, where = "<bytes>", memoryview(source)
        else:
            name = _name(source)
            where = Path(name).absolute()
        model = ModelSource(where, data or {}, arithmetic, most)
        return Model(self, name, loop.run(self._session.load_onnx(model)))

    def kernel(self, name: str, *operands: Port, **settings: Any) -> Model:
        """A single kernel as a program, for operands of these dtypes and shapes (or symbols).

        ``vaccel.ops.kernels()`` lists kernels and settings. Raises NotFound, and InvalidArgument
        with all operands side by side where they do not fit together.
        """
        texts = {key: setting_text(value) for key, value in settings.items()}
        for number, each in enumerate(operands, 1):
            if not isinstance(each, Port):
                raise errors.InvalidArgument(
                    f"kernel {name}: operand {number} is a {type(each).__name__}, not a Port",
                    hint=f"device.run({name!r}, …) takes arrays; Port is in vaccel.model",
                )
        source = KernelSource(name, operands, texts)
        return Model(self, name, loop.run(self._session.load_kernel(source)))

    def run(self, kernel: str, *arrays: Any, **settings: Any) -> Array:
        """A single kernel on arrays, compiled once for dtypes, ranks and settings; its first
        result. ``vaccel.ops`` has a function for each kernel.

        >>> device.run("matmul", a, b)
        """
        forks.check()
        outputs = self._kernels.run(kernel, arrays, {}, settings)
        first: Array = next(iter(outputs.values()))
        return first

    @property
    def last_cost(self) -> Cost:
        """What the last kernel of ``run`` or of ``vaccel.ops`` would have cost the device."""
        return self._kernels.last_cost

    def buffer(self, source: int | Array) -> Buffer:
        """Device memory: so many bytes of zeros, or with an array's bytes."""
        if isinstance(source, int | float | str | None):
            size = given.count("buffer: size in bytes", source)
            return Buffer(self, loop.run(self._session.allocate(size)), size)
        tensor = binding.tensor_of(np.asarray(source))
        made = Buffer(self, loop.run(self._session.allocate(max(1, tensor.nbytes))), tensor.nbytes)
        made.write(source)
        return made

    def staging(self, shape: Sequence[int] | int, dtype: str = "float32") -> Array:
        """An array to fill and to pass to ``Buffer.write``, or to ``Buffer.read_into``.

        Over the aperture it is a part of the window: filling it costs one write, and the device
        takes it from there. It goes with its last view. Over gRPC it is an ordinary array.
        Raises Exhausted, naming the largest free block.
        """
        dims = given.shape("staging", shape)
        dtype = given.element("staging", dtype).numpy.name
        queue = self._queue
        if queue is None:
            return np.zeros(dims, dtype)
        from vaccel.fastpath import staging

        return staging.make(queue, dims, dtype)

    def stream(self) -> Stream:
        """A new in-order queue of commands."""
        queue = self._queue
        if queue is None:
            return Stream(self, self._session.stream())
        from vaccel.fastpath.stream import FastState, FastStream

        return FastStream(self, FastState(self._session, self._session.new_stream_number(), queue))


def _name(path: str | os.PathLike[str]) -> str:
    """A file's name. Raises InvalidArgument for what cannot be one."""
    try:
        name = os.fspath(path)
        os.stat(name)
        return name
    except (OSError, ValueError, TypeError) as fault:
        why = getattr(fault, "strerror", None) or fault
        raise errors.InvalidArgument(
            f"model {path!r:.200}: {why}", hint="give the path of an ONNX file, or its bytes"
        ) from None


def _choose(devices: Sequence[model.Device], wanted: str) -> model.Device:
    for device in devices:
        if wanted in ("", device.id):
            return device
    known = ", ".join(device.id for device in devices) or "none"
    raise errors.NotFound(f"no device {wanted!r} here", hint=f"there are: {known}")


__all__ = [
    "Buffer",
    "Call",
    "Device",
    "Fence",
    "Model",
    "Outputs",
    "Stream",
    "open",
]
