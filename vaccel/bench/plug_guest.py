"""What ``vaccelctl bench plug`` runs in the guest: an app that is there when a VF comes and goes.

``python -m`` this, ``CYCLES``. It sends commands through the window of a VF that has come until it
is taken away, and then looks whether its array is memory still.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final

import vaccel
from vaccel import bounds
from vaccel.commands import Nop
from vaccel.errors import Detached, InvalidArgument, NotFound, Unavailable

# Between two looks whether a VF is there, and between two commands: the guest has little CPU.
_PAUSE_SECONDS: Final = 0.02


def main(arguments: Sequence[str]) -> int:
    """The program."""
    for number in range(int(arguments[0])):
        device = _await_device()
        stream, staged = device.stream(), device.staging((1 << 16,), "uint8")
        staged[:] = number % 251
        try:
            while True:
                stream.submit(Nop()).wait(bounds.CALL_SECONDS)
                time.sleep(_PAUSE_SECONDS)
        except Detached:
            kept = bytes(staged) == bytes([number % 251]) * staged.size
            staged[:] = 7
        device.close()
        if not kept or staged.sum() != 7 * staged.size:
            print(f"cycle {number}: the array is not memory of its own", file=sys.stderr)
            return 1
    return 0


def _await_device() -> vaccel.Device:
    """As soon as a VF is there."""
    end = time.monotonic() + bounds.ENROL_SECONDS
    while True:
        try:
            return vaccel.open(path="aperture")
        except (Unavailable, NotFound, Detached, InvalidArgument):
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
