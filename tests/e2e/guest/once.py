"""One product on a device, checked: once.py [DEVICE]."""

import sys

import numpy as np

import vaccel

a = np.arange(12, dtype=np.float32).reshape(3, 4)
with vaccel.open(sys.argv[1] if len(sys.argv) > 1 else "") as device:
    np.testing.assert_array_equal(device.run("matmul", a, a.T), a @ a.T)
