"""What root finds in a window and in device memory: window.py DEVICE MARK write|look.

``write`` leaves the mark in both; ``look`` says whether a mark, or anything at all, is there.
"""

import json
import sys
from pathlib import Path

import numpy as np

import vaccel
from guest_agent.pci import PciBus
from vaccel.aperture import layout
from vaccel.aperture.window import Window

SIZE = 4 << 20
wanted, mark, mode = sys.argv[1], np.frombuffer(bytes.fromhex(sys.argv[2]), np.uint8), sys.argv[3]

bus = PciBus(Path("/sys"))
(function,) = [function for function in bus.scan() if bus.read_header(function).vf == wanted]
window = Window.from_resource(Path(f"/sys/bus/pci/devices/{function.address}/resource2"))
memory = np.frombuffer(window.bytes, np.uint8)[layout.HEADER_BYTES :]
slots = memory[: memory.size // 16 * 16].reshape(-1, 16)[::4096]
words = memory.view(np.uint64)
with vaccel.open(wanted) as device:
    buffer = device.buffer(SIZE)
    if mode == "write":
        slots[:] = mark
        buffer.write(np.tile(mark, SIZE // 16))
        kept = buffer.read("uint8", (SIZE,)).reshape(-1, 16)
        found = bool((slots == mark).all() and (kept == mark).all())
        print(json.dumps({"found": found}))
    else:
        used = sum(int(np.count_nonzero(part)) for part in np.array_split(words, 64))
        found = bool((slots == mark).all(axis=1).any())
        left = int(np.count_nonzero(buffer.read("uint8", (SIZE,))))
        print(json.dumps({"found": found, "buffer": left, "window": {"rings and slabs": used}}))
