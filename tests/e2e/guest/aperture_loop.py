"""An app that drives its VF by shared memory until the VF is taken away: aperture_loop.py DEVICE.

Prints ``step N`` now and then, ``lost CLASS`` and ``back after S`` around a reset of the VF, and
``detached``, once its arrays were seen to be memory still, at the end.
"""

import sys
import threading
import time

import numpy as np

import vaccel
from vaccel.commands import Nop
from vaccel.errors import Detached, DeviceLost

pace = threading.Event()
rng = np.random.default_rng(5)
a = rng.standard_normal((32, 48), np.float32)
b = rng.standard_normal((48, 16), np.float32)
device = vaccel.open(sys.argv[1], path="aperture")
stream, staged = device.stream(), device.staging((1 << 16,), "uint8")
large = rng.standard_normal((512, 512), np.float32)
device.run("relu", large)
held = device.run("relu", large)  # the second call lends its result
steps = 0
while True:
    try:
        np.testing.assert_allclose(device.run("matmul", a, b), a @ b, rtol=1e-4, atol=1e-5)
        assert device.path == "aperture", device.path
        staged[:] = steps % 251
        buffer = device.buffer(staged.nbytes)
        buffer.write(staged)
        assert (buffer.read("uint8", staged.shape) == steps % 251).all()
        buffer.free()
        for _ in range(50):
            stream.submit(Nop()).wait(30)
        steps += 1
        print(f"step {steps}", flush=True)
        pace.wait(0.05)  # the guest has one emulated CPU, and the test does more there than this
    except DeviceLost as lost:
        began = time.monotonic()
        print(f"lost {lost}", flush=True)
        assert (staged == steps % 251).all() or (staged == (steps - 1) % 251).all()
        while True:
            try:
                device.run("matmul", a, b)
                break
            except DeviceLost as again:
                print(f"lost again {again}", flush=True)
        print(f"back after {time.monotonic() - began:.3f} s over {device.path}", flush=True)
    except (Detached, AssertionError) as gone:
        if isinstance(gone, AssertionError) and device.path == "aperture":
            raise
        break
staged[:] = 77
assert staged.sum() == 77 * staged.size
np.testing.assert_array_equal(held, np.maximum(large, 0))
try:
    stream.submit(Nop())
except Detached as fault:
    print(f"detached {fault}", flush=True)
