"""The programs of one context."""

from __future__ import annotations

from collections.abc import Callable

from host_daemon.compiler.program import CompiledProgram
from host_daemon.worker.memory import DeviceMemory
from host_daemon.worker.numbers import Numbers
from vaccel import bounds
from vaccel.compute import Program
from vaccel.errors import Exhausted

Retire = Callable[[CompiledProgram], None]


def close_at_once(program: CompiledProgram) -> None:
    """Close a program where no thread runs it."""
    program.close()


class Programs:
    """Compiled programs by number; their weights count as device memory.

    ``retire`` closes a program once nothing runs it any more.
    """

    def __init__(
        self, memory: DeviceMemory, epoch: int = 0, retire: Retire = close_at_once
    ) -> None:
        self._memory = memory
        self._retire = retire
        self._programs: dict[int, CompiledProgram] = {}
        self._numbers = Numbers("program", epoch)

    def __len__(self) -> int:
        return len(self._programs)

    def check_room(self) -> None:
        """Raise Exhausted where the context holds as many as it may."""
        if len(self._programs) >= bounds.PROGRAMS_PER_CONTEXT:
            raise Exhausted(
                f"context holds {bounds.PROGRAMS_PER_CONTEXT} programs, the most there can be",
                hint="unload some",
            )

    def add(self, compiled: CompiledProgram) -> Program:
        """Keep a program. Raises Exhausted where its weights find no room."""
        try:
            self.check_room()
            self._memory.reserve(compiled.weight_bytes, "weights of the program")
        except Exhausted:
            self._retire(compiled)
            raise
        number = self._numbers.next()
        self._programs[number] = compiled
        return Program(
            number,
            compiled.inputs,
            compiled.outputs,
            compiled.weight_bytes,
            compiled.nodes,
            compiled.sha256,
        )

    def find(self, number: int) -> CompiledProgram:
        """A program by number. Raises NotFound."""
        compiled = self._programs.get(number)
        if compiled is None:
            raise self._numbers.unknown(number)
        return compiled

    def unload(self, number: int) -> None:
        """Forget a program, if it is there."""
        compiled = self._programs.pop(number, None)
        if compiled is not None:
            self._memory.release(compiled.weight_bytes)
            self._retire(compiled)

    def clear(self) -> None:
        """Forget all."""
        for number in list(self._programs):
            self.unload(number)
