"""Streams of commands and their fences, as a program sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vaccel import binding, bounds, errors, given, loop, placing
from vaccel.commands import Command, Completion, Launch, Result, WaitFence
from vaccel.loaded_model import Model
from vaccel.placing import Place
from vaccel.stream_state import StreamState

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.fastpath.stream import Recording


class Stream:
    """An in-order queue. Streams of a VF run independently; ``wait`` joins them."""

    def __init__(self, device: Device, state: StreamState) -> None:
        self._device = device
        self._state = state

    @property
    def id(self) -> int:
        """Its number within the context, for ``Signal`` and ``WaitFence``."""
        return self._state.number

    @property
    def context(self) -> str:
        """Name of its context, for a ``WaitFence`` of another program on the same VF."""
        return self._state.context

    def wait(self, fence: Fence) -> Fence:
        """Hold this stream until a fence is reached, of any stream of any device on the same VF.

        Returns at once; the fence is the wait's own. Waiting for it raises NotFound where the other
        device is closed before its fence is reached. Raises InvalidArgument for a fence of another
        VF, and what the fence itself would raise where nobody follows it any more.
        """
        if not isinstance(fence, Fence):
            raise errors.InvalidArgument(
                f"wait: a {type(fence).__name__} is no fence", hint="submit() gives one"
            )
        return self.submit(fence._awaited_on(self._device.info.id))

    def submit(self, *commands: Command) -> Fence:
        """Queue commands and return at once; the fence is the last one's."""
        if not commands:
            raise errors.InvalidArgument("submit: no commands", hint="give one at least")
        return Fence(self._state, loop.run(self._state.submit(commands)))

    def record(self, *commands: Command) -> Recording:
        """Record commands once, to be replayed here with one descriptor as often as is wanted.

        Launches name all their results and a place for each. Raises Unsupported over gRPC.
        """
        raise errors.Unsupported(
            f"{len(commands)} commands cannot be recorded over {self._device.path}",
            hint='open the device with path="aperture", or submit them each time',
        )

    def fence(self, value: int) -> Fence:
        """The fence of any command of this stream: within a submission they rise to the last."""
        return Fence(self._state, value)

    def launch(
        self,
        program: Model,
        *args: Any,
        results: Sequence[Result] = (),
        out: Mapping[str, Place] | None = None,
        **named: Any,
    ) -> Fence:
        """Queue a launch; arrays must be small (``bounds.INLINE_BYTES`` together) or in buffers.

        ``out`` places outputs as in a call of the model, and all come back; ``results`` says which
        do, each with a place or without.
        """
        if results and out is not None:
            raise errors.InvalidArgument(
                "launch: results and out both say where outputs go", hint="give one of the two"
            )
        arguments = binding.bind(program.inputs, args, named)
        self._device._refresh()
        asked = placing.results_of(self._device, program.outputs, out) or tuple(results)
        return self.submit(Launch(program.id, arguments, asked))


class Fence:
    """The number of a command in its stream."""

    def __init__(self, state: StreamState, value: int) -> None:
        self._state = state
        self._number = state.number
        self.value = value

    @property
    def done(self) -> bool:
        """Whether it is known to be reached; asks nobody."""
        return self._state.number == self._number and self._state.reached >= self.value

    def wait(self, timeout: float = bounds.WAIT_SECONDS) -> Completion:
        """Until the command is done; its completion. Raises its error, or TimedOut."""
        return loop.run(self._completion(given.seconds("timeout", timeout)))

    def _awaited_on(self, device: str) -> WaitFence:
        """What a stream of a device holds for it with. Always by its context's name: that of the
        stream may be another one by the time that it arrives.
        """
        theirs = self._state.session.device
        if theirs != device:
            raise errors.InvalidArgument(
                f"wait: fence {self.value} is of {theirs}, and this stream is on {device}",
                hint="wait for it here: fence.wait()",
            )
        self._state.check(self._number)
        return WaitFence(self._number, self.value, self._state.context)

    def __await__(self) -> Generator[Any, None, Completion]:
        """``await fence``: as ``wait``, in any event loop."""
        return self._wait().__await__()

    async def _wait(self) -> Completion:
        return await asyncio.wrap_future(loop.start(self._completion(bounds.WAIT_SECONDS)))

    async def _completion(self, timeout: float) -> Completion:
        await self._state.wait(self.value, timeout, self._number)
        completion = self._state.claim(self.value, self._number)
        if completion.error is not None:
            raise completion.error
        return completion
