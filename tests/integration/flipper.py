"""Rewrites words of a window as fast as it can: ``flipper.py FD BYTES COUNT WORD VALUE VALUE ...``

Each step writes the next of its values to its word, from a process of its own, whatever the other
side is about to read there.
"""

from __future__ import annotations

import mmap
import sys
from itertools import cycle, islice


def main() -> None:
    fd, size, count, *rest = map(int, sys.argv[1:])
    memory = mmap.mmap(fd, size)
    words = memoryview(memory).cast("Q")
    # Triples of a word and two values.
    steps = [(rest[at], rest[at + 1 + odd]) for odd in (0, 1) for at in range(0, len(rest), 3)]
    print("flipping", flush=True)
    for word, value in islice(cycle(steps), count):
        words[word] = value


main()
