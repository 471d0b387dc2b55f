"""Programs that a VF compiled already, by what they were compiled from.

The same bytes, loaded again by any context of the VF, give the program that is there: its graph is
neither checked nor compiled again, and its weights are in memory once, read by all and written by
none. Programs that nobody holds any more are kept for a while, the least recently used ones go
first. It lives in the worker, so it is one tenant's alone; a new epoch empties it.

Each context is charged for the weights of what it loads, shared or not: what others of the VF do
changes nobody's account. What is kept idle is charged to none, and bounded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from host_daemon.compiler import external, heap, vxp
from host_daemon.compiler.external import Blobs
from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from vaccel import bounds


@dataclass(slots=True)
class _Entry:
    program: CompiledProgram
    users: int


class ProgramCache:
    """``take`` belongs on the kernels' thread, the rest on any. ``retire`` closes a program."""

    def __init__(self, target: Target, retire: Callable[[CompiledProgram], None]) -> None:
        self._target = target
        self._retire = retire
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._keys: dict[int, str] = {}
        self._lock = threading.Lock()
        self.hits = 0

    def take(
        self,
        data: memoryview,
        blobs: Blobs = MappingProxyType({}),
        own: bool = False,
        arithmetic: str = "",
        max_error: float = 0.0,
    ) -> tuple[CompiledProgram, bool]:
        """The program of a model or a program file, and whether it was made just now.

        In another ``arithmetic``, or held to another ``max_error``, the same bytes are another
        program. Raises what ``compile_model``
        raises, whose ``blobs`` and ``own`` these are.
        """
        is_file = vxp.is_vxp(data)
        digest = vxp.key(data) if is_file else external.digest(data, blobs)
        key = f"{digest}/{arithmetic}/{max_error!r}"
        known = self._known(key)
        if known is not None:
            if is_file:
                try:
                    vxp.check_hashes(data)
                except BaseException:
                    self.release(known)
                    raise
            return known, False
        sha256 = "" if is_file else digest
        with heap.tidied(len(data) + sum(map(len, blobs.values()))):
            asked = arithmetic, max_error
            program = compile_model(data, self._target, sha256, *asked, blobs, own)
        if program.spilled:
            # Made for what room there was: who loads it later may find more.
            return program, True
        with self._lock:
            self._entries[key] = _Entry(program, 1)
            self._keys[id(program)] = key
        return program, True

    def release(self, program: CompiledProgram) -> None:
        """One user less. A program that came from elsewhere is closed."""
        with self._lock:
            key = self._keys.get(id(program))
            entry = self._entries.get(key) if key is not None else None
            if entry is None:
                gone = [program]
            else:
                entry.users -= 1
                gone = self._surplus()
        for each in gone:
            self._retire(each)

    def clear(self) -> None:
        """Forget what nobody uses, and share nothing of what somebody still does."""
        with self._lock:
            gone = [entry.program for entry in self._entries.values() if entry.users <= 0]
            self._entries.clear()
            self._keys.clear()
        for each in gone:
            self._retire(each)

    def _known(self, key: str) -> CompiledProgram | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            entry.users += 1
            self.hits += 1
            return entry.program

    def _surplus(self) -> list[CompiledProgram]:
        """Take out idle programs that are too many, too large, or hold cells of the device."""
        gone: list[CompiledProgram] = []
        count = size = 0
        for key in reversed(list(self._entries)):
            entry = self._entries[key]
            if entry.users > 0:
                continue
            program = entry.program
            count += 1
            size += program.weight_bytes
            full = count > bounds.PROGRAMS_IDLE or size > bounds.PROGRAMS_IDLE_BYTES
            if full or program.programming is not None:
                gone.append(program)
                del self._entries[key], self._keys[id(program)]
        return gone


class Pending:
    """A load under way, whose result must not be lost where whoever asked has gone."""

    def __init__(self, cache: ProgramCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._program: CompiledProgram | None = None
        self._abandoned = False

    def keep(self, given: tuple[CompiledProgram, bool]) -> tuple[CompiledProgram, bool]:
        """Take note of the result, on the kernels' thread."""
        with self._lock:
            self._program = given[0]
            abandoned = self._abandoned
        if abandoned:
            self._cache.release(given[0])
        return given

    def abandon(self) -> None:
        """Nobody waits any more: release the result, now or when it is there."""
        with self._lock:
            self._abandoned = True
            program = self._program
        if program is not None:
            self._cache.release(program)
