"""An app of a process of its own that never rings twice: ``python vigilant.py ADDRESS COUNT``.

Null commands one after the other, with pauses about as long as the worker goes on looking, so that
many come just when it stops. What the worker misses then nobody tells it.
"""

from __future__ import annotations

import random
import sys
import time

import vaccel
from vaccel.commands import Nop
from vaccel.fastpath.queue import AppQueue

AppQueue._silent = property(lambda _self: False, lambda _self, _value: None)  # type: ignore[assignment]
address, count = sys.argv[1], int(sys.argv[2])
chance = random.Random(1)
unrung = 0
with vaccel.open(address=address, path="aperture") as device:
    stream, queue = device.stream(), device._queue
    assert queue is not None
    for _ in range(count):
        unrung += queue._words[queue._polls]
        stream.submit(Nop()).wait(20)
        end = time.perf_counter() + chance.uniform(0, 80e-6)
        while time.perf_counter() < end:
            pass
print(unrung)
