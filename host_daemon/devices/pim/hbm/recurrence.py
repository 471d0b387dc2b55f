"""An LSTM as banks and host share it, a step at a time:

1. banks: the four gates, one GEMV of [x, h];
2. host: 16 lanes added in fp16, bias, sigmoid and tanh in float32; each gate is rounded to fp16 as
   it is written into the banks;
3. banks: c = f * c + i * g, rounded to fp16 after each product and the sum (``program.cell``);
4. host: tanh(c) in float32, rounded to fp16;
5. banks: h = o * tanh(c), rounded to fp16.

So of every size: the cell is the banks' though a host would be sooner done with it, as the
operands have to be written there. A host that took small ones would have to round as blocks do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import Operation
from host_daemon.devices.pim.hbm import fp16
from host_daemon.devices.pim.hbm.fp16 import Half
from host_daemon.devices.pim.hbm.layout import GATES
from vaccel.errors import InvalidArgument
from vaccel.model import Array

Floats = NDArray[np.float32]


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def activations(gates: Floats) -> tuple[Half, Half, Half, Half]:
    """What the host makes of a step's gates [batch, 4 * hidden], in ONNX's order i, o, f, c."""
    with np.errstate(over="ignore"):
        *others, candidate = np.split(gates, GATES, axis=1)
        i, o, f = (_sigmoid(each).astype(np.float16) for each in others)
        return i, o, f, np.tanh(candidate).astype(np.float16)


def squashed(state: Half) -> Half:
    """What the host makes of the state of the cell."""
    return np.tanh(state.astype(np.float32)).astype(np.float16)


def cell(gates: Floats, before: Half) -> tuple[Half, Half]:
    """(hidden, cell) of a step, from its gates and the cell before it."""
    i, o, f, g = activations(gates)
    state = fp16.add(fp16.multiply(f, before), fp16.multiply(i, g))
    return fp16.multiply(o, squashed(state)), state


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
            h[direction], c[direction] = cell(gates, c[direction])
            y[step, direction] = h[direction]
    return [y, h, c]
