"""An app that says by which path it goes: aperture_path.py DEVICE.

Prints ``step N PATH`` now and then, ``detached REASON`` when its VF was taken away, and ``again``
once there is one of that name again. Results are checked, and so is a staging array that it filled
before.
"""

import sys
import threading

import numpy as np

import vaccel
from vaccel.errors import Detached, NotFound, Unavailable

pace = threading.Event()
rng = np.random.default_rng(5)
a = rng.standard_normal((32, 48), np.float32)
b = rng.standard_normal((48, 16), np.float32)
device = vaccel.open(sys.argv[1], path="aperture")
staged, other = (device.staging((1 << 20,), "uint8") for _ in range(2))
staged[:] = 77
buffer = device.buffer(staged.nbytes)
steps = 0
while True:
    try:
        np.testing.assert_allclose(device.run("matmul", a, b), a @ b, rtol=1e-4, atol=1e-5)
        buffer.write(staged)
        other[:] = 0
        buffer.read_into(other)
        assert (staged == 77).all() and (other == 77).all()
    except Detached as gone:
        print(f"detached {gone}", flush=True)
        break
    steps += 1
    print(f"step {steps} {device.path}", flush=True)
    pace.wait(0.05)
staged[:] = 5  # memory still
assert (staged == 5).all()
device.close()
while True:
    try:
        device = vaccel.open(sys.argv[1], path="aperture")
        break
    except (NotFound, Unavailable):  # not yet
        pace.wait(0.1)
np.testing.assert_allclose(device.run("matmul", a, b), a @ b, rtol=1e-4, atol=1e-5)
device.close()
print("again", flush=True)
