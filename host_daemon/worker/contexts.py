"""Contexts: who owns what. A context owns buffers, programs and streams; they go when it closes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from host_daemon.worker.memory import Buffers, DeviceMemory
from host_daemon.worker.programs import Programs, Retire, close_at_once
from host_daemon.worker.streams import Stream
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, NotFound, VaccelError


class Context:
    """One context."""

    def __init__(
        self,
        name: str,
        memory: DeviceMemory,
        epoch: int = 0,
        retire: Retire = close_at_once,
    ) -> None:
        self.name, self.epoch = name, epoch
        self.memory = memory
        self.buffers = Buffers(memory, epoch)
        self.programs = Programs(memory, epoch, retire)
        self.streams: dict[int, Stream] = {}
        self.closed: VaccelError | None = None
        # Its queue pair, where it has one: who is told of fences, and of the end.
        self.reached: Callable[[int, int], None] = _unheard
        self.accepted: Callable[[int, int], None] = _unheard
        self.ended: Callable[[], None] | None = None

    def stream(self, number: int) -> Stream:
        """A stream by number; naming a new one makes it. Raises Exhausted past the bound."""
        stream = self.streams.get(number)
        if stream is None:
            if not 0 <= number < 1 << 64:
                raise InvalidArgument(f"stream {number} is no number of a stream")
            if len(self.streams) >= bounds.STREAMS_PER_CONTEXT:
                raise Exhausted(
                    f"context has {bounds.STREAMS_PER_CONTEXT} streams, the most there can be"
                )
            stream = self.streams[number] = Stream(number, self.memory, self._tell_reached)
        return stream

    def fence_accepted(self, number: int) -> int:
        """The last fence that a stream has accepted; 0 where there is no such stream."""
        stream = self.streams.get(number)
        return 0 if stream is None else stream.accepted

    def _tell_reached(self, stream: int, fence: int) -> None:
        self.reached(stream, fence)  # whoever listens at that moment

    def close(self, reason: VaccelError) -> None:
        """Let go of everything; whoever waits gets the reason."""
        self.closed = reason
        if self.ended is not None:
            self.ended()
        for stream in self.streams.values():
            stream.close(reason)
        self.streams.clear()
        self.programs.clear()
        self.buffers.clear()


def _unheard(_stream: int, _fence: int) -> None:
    return


class Contexts:
    """The contexts of a VF. ``new_name`` gives names that are unique across hosts; ``retire`` takes
    programs that are unloaded.
    """

    def __init__(
        self,
        memory: DeviceMemory,
        new_name: Callable[[], str],
        retire: Retire = close_at_once,
    ) -> None:
        self._memory = memory
        self._retire = retire
        self._new_name = new_name
        self._contexts: dict[str, Context] = {}

    def __len__(self) -> int:
        return len(self._contexts)

    def __iter__(self) -> Iterator[Context]:
        return iter(list(self._contexts.values()))

    def open(self, epoch: int = 0) -> Context:
        """A new context of an epoch of the VF. Raises Exhausted past the bound."""
        if len(self._contexts) >= bounds.CONTEXTS_PER_VF:
            raise Exhausted(
                f"VF has {bounds.CONTEXTS_PER_VF} contexts, the most there can be",
                hint="close some",
            )
        context = Context(self._new_name(), self._memory, epoch, self._retire)
        self._contexts[context.name] = context
        return context

    def find(self, name: str) -> Context:
        """A context by name. Raises NotFound."""
        context = self._contexts.get(name)
        if context is None:
            raise NotFound(
                f"context {name[: bounds.NAME_BYTES]!r} is not open", hint="open a new one"
            )
        return context

    def streams_of(self, owner: Context) -> Callable[[str], Mapping[int, Stream]]:
        """What gives the streams of a context by name, "" being the owner. It raises NotFound."""
        return lambda name: (self.find(name) if name else owner).streams

    def close(self, name: str, reason: VaccelError) -> Context | None:
        """Close a context, if it is open."""
        context = self._contexts.pop(name, None)
        if context is not None:
            context.close(reason)
        return context
