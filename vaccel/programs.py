"""The programs of a session, and what it takes to load them again after a reset."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vaccel.compute import KernelSource, Program
from vaccel.errors import InvalidArgument, InvalidModel, Unsupported
from vaccel.uploads import ModelSource

Source = ModelSource | KernelSource


@dataclass(slots=True)
class _Loaded:
    program: Program
    source: Source


class Programs:
    """By number. A program keeps the number that it was first given, whatever it is now."""

    def __init__(self) -> None:
        self._loaded: dict[int, _Loaded] = {}
        # Numbers that a reset ended, to the ones that took their place.
        self._renamed: dict[int, int] = {}

    def add(self, program: Program, source: Source) -> Program:
        """A program was loaded."""
        self._loaded[program.id] = _Loaded(program, source)
        return program

    def number(self, program: int) -> int:
        """What a program is called now, from any number that it had."""
        while program in self._renamed:
            program = self._renamed[program]
        return program

    def remove(self, program: int) -> None:
        """It was unloaded."""
        self._loaded.pop(self.number(program), None)

    async def reload(
        self,
        load: Callable[[Source], Awaitable[Program]],
        unload: Callable[[Program], Awaitable[None]],
    ) -> list[str]:
        """Load all again, in the order they were loaded; what was not, and why.

        A model from a file is read anew, and must be the same to the bit: the worker says what it
        loaded. Raises what ends the attempt as a whole: an error that is not the model's.
        """
        gone: list[str] = []
        for number, held in list(self._loaded.items()):
            from_file = isinstance(held.source, ModelSource) and held.source.is_file
            try:
                fresh = await load(held.source)
            except (InvalidArgument, InvalidModel, Unsupported) as fault:
                if not from_file:
                    raise
                gone.append(f"model {held.source}: {fault.message}")
                continue
            if from_file and fresh.sha256 != held.program.sha256:
                await unload(fresh)
                gone.append(f"model {held.source}: the file has changed since it was loaded")
                continue
            del self._loaded[number]
            self._loaded[fresh.id] = _Loaded(fresh, held.source)
            self._renamed[number] = fresh.id
        return gone
