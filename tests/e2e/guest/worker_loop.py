"""An app that multiplies until it is told to end: worker_loop.py STOP_FILE [DEVICE].

Prints ``step N`` for every product, ``done N`` at the end, and ``failed CLASS MESSAGE`` where the
device gives it an error, with that error's exit code.
"""

import sys
import threading
from pathlib import Path

import numpy as np

import vaccel
from vaccel.errors import VaccelError

stop = Path(sys.argv[1])
device_id = sys.argv[2] if len(sys.argv) > 2 else ""
rng = np.random.default_rng(5)
a = rng.standard_normal((32, 48), np.float32)
b = rng.standard_normal((48, 16), np.float32)
steps = 0
# The guest has one emulated CPU, and the test does more there than this.
pace = threading.Event()
try:
    with vaccel.open(device_id) as device:
        kept = device.buffer(a)
        while not stop.exists():
            np.testing.assert_allclose(device.run("matmul", a, b), a @ b, rtol=1e-4, atol=1e-5)
            steps += 1
            print(f"step {steps}", flush=True)
            pace.wait(0.1)
        np.testing.assert_array_equal(kept.read("float32", a.shape), a)
except VaccelError as error:
    print(f"failed {type(error).__name__} {error}", flush=True)
    sys.exit(error.exit_code)
print(f"done {steps}", flush=True)
