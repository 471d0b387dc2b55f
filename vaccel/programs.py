"""The programs of a session, and what it takes to load them again after a reset."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from vaccel.compute import KernelSource, Program

# A model by its bytes, or by the file that it came from; or a kernel.
Source = memoryview | Path | KernelSource


@dataclass(slots=True)
class _Loaded:
    program: Program
    source: Source
    arithmetic: str


class Programs:
    """By number. A program keeps the number that it was first given, whatever it is now."""

    def __init__(self) -> None:
        self._loaded: dict[int, _Loaded] = {}
        # Numbers that a reset ended, to the ones that took their place.
        self._renamed: dict[int, int] = {}

    def add(self, program: Program, source: Source, arithmetic: str = "") -> Program:
        """A program was loaded; a model in this ``arithmetic``."""
        self._loaded[program.id] = _Loaded(program, source, arithmetic)
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
        self, load: Callable[[memoryview | KernelSource, str], Awaitable[Program]]
    ) -> list[str]:
        """Load all again, in the order they were loaded; what was not, and why.

        A model from a file is read anew, and must be the same to the bit. Raises what ends the
        attempt as a whole: an error that is not the model's.
        """
        gone: list[str] = []
        for number, held in list(self._loaded.items()):
            try:
                fresh = await load(_data(held), held.arithmetic)
            except _Changed as fault:
                gone.append(str(fault))
                continue
            del self._loaded[number]
            self._loaded[fresh.id] = _Loaded(fresh, held.source, held.arithmetic)
            self._renamed[number] = fresh.id
        return gone


class _Changed(Exception):
    """A file is not any more what was loaded from it."""


def _data(held: _Loaded) -> memoryview | KernelSource:
    if not isinstance(held.source, Path):
        return held.source
    try:
        data = held.source.read_bytes()
    except OSError as fault:
        raise _Changed(f"model {held.source}: {fault.strerror}") from None
    if hashlib.sha256(data).hexdigest() != held.program.sha256:
        raise _Changed(f"model {held.source}: the file has changed since it was loaded")
    return memoryview(data)

