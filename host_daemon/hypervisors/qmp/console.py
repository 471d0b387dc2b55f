"""Bounded logs of a process that never stops writing, and readers of them.

QEMU appends to one file. When that has grown past its bound, its contents move to a second file,
which replaces the one before, and the first starts at zero again: the newest bytes are always
kept, and the disk holds at most twice the bound and what arrives between two checks. While no
daemon runs nobody checks; the next one does at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from vaccel import bounds


def rotate(path: Path, before: Path, limit: int = bounds.CONSOLE_BYTES) -> bool:
    """Move what has grown past ``limit`` aside, but its last bytes; whether it had."""
    try:
        with path.open("r+b") as log:
            size = os.fstat(log.fileno()).st_size
            if size <= limit:
                return False
            log.seek(size - limit)
            draft = before.with_name(before.name + ".draft")
            draft.write_bytes(log.read(limit))
            draft.replace(before)
            # QEMU opened it to append: its next byte lands at the new end.
            log.truncate(0)
            return True
    except FileNotFoundError:
        return False


async def read(
    path: Path, before: Path, *, follow: bool, alive: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """What there is, oldest first; with ``follow`` also what comes, until ``alive`` says no."""
    for chunk in _chunks(before, 0):
        yield chunk
    offset = 0
    while True:
        # Asked first: what is written before the end is read after it.
        last = not follow or not alive()
        if _size(path) < offset:
            offset = 0
        for chunk in _chunks(path, offset):
            offset += len(chunk)
            yield chunk
        if last:
            return
        await asyncio.sleep(bounds.CONSOLE_POLL_SECONDS)


def tail(path: Path, lines: int = 5, limit: int = 2000) -> str:
    """The last lines, joined into one, for an error's message."""
    size = _size(path)
    text = b"".join(_chunks(path, max(0, size - limit))).decode(errors="replace")
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    joined = " | ".join(kept[-lines:])
    return "".join(c if c.isprintable() else "?" for c in joined)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _chunks(path: Path, offset: int) -> list[bytes]:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            chunks: list[bytes] = []
            while len(chunks) * bounds.CHUNK_BYTES <= 2 * bounds.CONSOLE_BYTES:
                chunk = log.read(bounds.CHUNK_BYTES)
                if not chunk:
                    break
                chunks.append(chunk)
            return chunks
    except FileNotFoundError:
        return []
