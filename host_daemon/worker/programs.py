"""The programs of one context."""

from __future__ import annotations

from host_daemon.compiler.program import CompiledProgram
from host_daemon.worker.memory import DeviceMemory
from vaccel import bounds
from vaccel.compute import Program
from vaccel.errors import Exhausted, NotFound


class Programs:
    """Compiled programs by number; their weights count as device memory."""

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self._programs: dict[int, CompiledProgram] = {}
        self._last = 0

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
        self.check_room()
        try:
            self._memory.reserve(compiled.weight_bytes, "weights of the program")
        except Exhausted:
            compiled.close()
            raise
        self._last += 1
        self._programs[self._last] = compiled
        return Program(
            self._last,
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
            raise NotFound(f"program {number} does not exist in this context")
        return compiled

    def unload(self, number: int) -> None:
        """Forget a program, if it is there."""
        compiled = self._programs.pop(number, None)
        if compiled is not None:
            compiled.close()
            self._memory.release(compiled.weight_bytes)

    def clear(self) -> None:
        """Forget all."""
        for number in list(self._programs):
            self.unload(number)
