"""One program with several VFs of its guest, each by its own window: four_windows.py DEVICE ...

Prints ``ready``, waits until one of them is reset, and then ``lost N``, once it has seen that all
of them answer and that the others have kept their memory.
"""

import sys
import threading

import numpy as np

import vaccel
from vaccel.commands import Nop
from vaccel.errors import DeviceLost

devices = [vaccel.open(name, path="aperture") for name in sys.argv[1:]]
streams = [device.stream() for device in devices]
buffers = []
for number, device in enumerate(devices):
    staged = device.staging((1 << 16,), "uint8")
    staged[:] = number + 1
    buffers.append(device.buffer(staged.nbytes))
    buffers[-1].write(staged)
print("ready", flush=True)
lost: set[int] = set()
pace = threading.Event()
while not lost:
    for number, stream in enumerate(streams):
        try:
            stream.submit(Nop()).wait(30)
        except DeviceLost:
            lost.add(number)
    pace.wait(0.02)
(gone,) = lost
for number, (device, buffer) in enumerate(zip(devices, buffers, strict=True)):
    streams[number].submit(Nop()).wait(30)
    assert device.path == "aperture"
    if number == gone:
        continue
    np.testing.assert_array_equal(buffer.read("uint8", (1 << 16,)), number + 1)
print(f"lost {gone}", flush=True)
