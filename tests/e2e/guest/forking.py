"""An app that forks a child which lives on, until its VF is taken away: forking.py DEVICE.

Prints ``child PID MAPS VALUE ERROR`` (MAPS of a PCI function, VALUE in its array), ``step N`` now
and then, and ``detached`` at the end.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import vaccel
from vaccel.commands import Nop
from vaccel.errors import Detached, WrongState

pace = threading.Event()
device = vaccel.open(sys.argv[1], path="aperture")
stream, staged = device.stream(), device.staging((1 << 16,), "uint8")
staged[:] = 5


def maps() -> int:
    return Path("/proc/self/maps").read_text().count("/resource")


def say(line: str) -> None:
    """Print it at once: parent and child write to the same file."""
    os.write(1, f"{line}\n".encode())


assert maps() == 2
child = os.fork()
if not child:
    value = set(staged.tolist())
    staged[:] = 9
    try:
        stream.submit(Nop())
    except WrongState as fault:
        say(f"child {os.getpid()} {maps()} {value} {fault.code}")
    while True:
        signal.pause()
steps = 0
try:
    while True:
        for _ in range(50):
            stream.submit(Nop()).wait(30)
        assert (staged == 5).all()
        steps += 1
        say(f"step {steps}")
        pace.wait(0.05)
except Detached as fault:
    assert maps() == 0 and (staged == 5).all()
    say(f"detached {fault}")
os.kill(child, signal.SIGKILL)
