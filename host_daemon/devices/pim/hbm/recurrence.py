"""An LSTM as banks and host share it: the four gates of a step are one GEMV in the banks, bias,
activations and the cell are the host's, in float32; state lies in memory as fp16 between steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import Operation
from host_daemon.devices.pim.hbm import fp16
from host_daemon.devices.pim.hbm.fp16 import Half
from vaccel.errors import InvalidArgument
from vaccel.model import Array

Floats = NDArray[np.float32]


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def cell(gates: Floats, before: Floats) -> tuple[Half, Half]:
    """(hidden, cell) of a step, from its gates [batch, 4 * hidden] in ONNX's order i, o, f, c."""
    with np.errstate(over="ignore"):
        i, o, f, c = np.split(gates, 4, axis=1)
        state = (_sigmoid(f) * before + _sigmoid(i) * np.tanh(c)).astype(np.float16)
        hidden = _sigmoid(o) * np.tanh(state.astype(np.float32))
    return hidden.astype(np.float16), state


def _halves(inputs: Sequence[Array | None], index: int) -> Half | None:
    found = inputs[index] if index < len(inputs) else None
    return None if found is None else np.asarray(found, np.float16)


def run(operation: Operation, inputs: Sequence[Array | None]) -> list[NDArray[Any]]:
    """Y [steps, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]."""
    x, w, r = (_halves(inputs, index) for index in range(3))
    if x is None or w is None or r is None:
        raise InvalidArgument("LSTM: one of inputs 0 to 2 is missing")
    directions, hidden = r.shape[0], r.shape[2]
    shape = (directions, x.shape[1], hidden)
    bias = _halves(inputs, 3)
    states = [_halves(inputs, index) for index in (5, 6)]
    h, c = (np.zeros(shape, np.float16) if each is None else each.copy() for each in states)
    y = np.zeros((x.shape[0], *shape), np.float16)
    backward = operation.attributes.get("direction", b"forward") in ("reverse", b"reverse")
    for direction in range(directions):
        weights = np.ascontiguousarray(np.concatenate([w[direction], r[direction]], axis=1))
        added = np.zeros(4 * hidden, np.float32)
        if bias is not None:
            both = bias[direction].astype(np.float32)
            added = both[: 4 * hidden] + both[4 * hidden :]
        order = range(len(x) - 1, -1, -1) if direction == 1 or backward else range(len(x))
        for step in order:
            rows = np.concatenate([x[step], h[direction]], axis=1)
            gates = fp16.gemv(weights, rows).astype(np.float32) + added
            h[direction], c[direction] = cell(gates, c[direction].astype(np.float32))
            y[step, direction] = h[direction]
    return [y, h, c]
