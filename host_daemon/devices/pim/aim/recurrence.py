"""LSTM cells on AiM: gates in the banks, with their activation functions; the state at the host.

A step is a product of [W | R] with [x, h]: biases begin in the MAC registers, sigmoid or tanh is
taken in the banks before the gates are read. The function is one for all banks, so that the three
sigmoid gates take passes of their own, and the tanh gate another. Cell and hidden state are the
host's: c = f c + i g and h = o tanh(c), about 14 lane operations a value, in float32; h goes back
into the buffer in bf16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.core.device import Operation
from host_daemon.devices.lowering import lower
from host_daemon.devices.pim.aim.activation import activate
from host_daemon.devices.pim.aim.arithmetic import Floats, gemv, rounded
from host_daemon.devices.pim.aim.commands import Command
from host_daemon.devices.pim.aim.gemv import Gemv, spent
from host_daemon.devices.pim.aim.timing import Timing
from vaccel.model import Array, Shape

# Numbers of the tables.
_SIGMOID, _TANH = 0, 1
_LANE_OPERATIONS: Final = 14
# Inputs of ONNX's LSTM after X, W, R and B: lengths of sequences, states, peepholes.
_LENGTHS, _H, _C, _PEEPHOLES = 4, 5, 6, 7
_DEFAULT: Final = ("Sigmoid", "Tanh", "Tanh")


def plain(operation: Operation) -> bool:
    """Whether it is the LSTM that banks do: standard functions, whole sequences, no peepholes."""
    given, inputs = operation.attributes, operation.inputs
    functions = given.get("activations")
    standard = functions is None or all(
        each == _DEFAULT[index % 3] for index, each in enumerate(functions)
    )
    optional = [inputs[index] for index in (_LENGTHS, _PEEPHOLES) if index < len(inputs)]
    return (
        standard
        and not any(optional)
        and not any(given.get(key) for key in ("clip", "input_forget", "layout"))
    )


def sizes(operation: Operation) -> tuple[int, int, int, int, int]:
    """(steps, batch, directions, inputs, hidden).

    Raises InvalidArgument where shapes do not fit.
    """
    lower(operation, (1, 1))
    x, w, r = (_shape(operation, index) for index in range(3))
    return x[0], x[1], w[0], x[2], r[2]


def _shape(operation: Operation, index: int) -> Shape:
    found = operation.inputs[index]
    return found[1] if found else ()


def cost(
    operation: Operation, timing: Timing, channels: int
) -> tuple[int, Counter[Command], int, int, int] | None:
    """(cycles, commands of all channels, MACs, values converted by the host, its lane operations).

    None where there is no step.
    """
    steps, batch, directions, inputs, hidden = sizes(operation)
    times = steps * batch * directions
    if not times or not hidden:
        return None
    cycles, commands = 0, Counter[Command]()
    for gates, function in ((3, _SIGMOID), (1, _TANH)):
        cut = Gemv(gates * hidden, inputs + hidden, channels, function=function)
        one = spent(replace(cut, keep=cut.fits), timing)
        cycles += one.cycles
        commands.update(one.commands)
    every = Counter({each: count * channels * times for each, count in commands.items()})
    macs = 4 * hidden * (inputs + hidden) * times
    converted = (inputs + 5 * hidden) * times
    return cycles * times, every, macs, converted, _LANE_OPERATIONS * hidden * times


def run(operation: Operation, inputs: Sequence[Array | None]) -> list[Array]:
    """Y, Y_h and Y_c of an LSTM; states that are not given are zero."""
    steps, batch, directions, _, hidden = sizes(operation)
    x, w, r = (np.asarray(inputs[index]) for index in range(3))
    bias, h0, c0 = (inputs[index] if index < len(inputs) else None for index in (3, _H, _C))
    y = np.zeros((steps, directions, batch, hidden), np.float32)
    last_h = np.zeros((directions, batch, hidden), np.float32)
    last_c = np.zeros_like(last_h)
    backward = operation.attributes.get("direction", "forward")
    for direction in range(directions):
        weights = np.concatenate((rounded(w[direction]), rounded(r[direction])), axis=1).T
        start = np.zeros(4 * hidden, np.float32)
        if bias is not None:
            both = bias[direction].astype(np.float32).reshape(2, -1)
            start = rounded(both[0] + both[1])
        order = range(steps)
        if direction == 1 or backward == "reverse":
            order = range(steps - 1, -1, -1)
        for row in range(batch):
            h: Floats = np.zeros(hidden, np.float32) if h0 is None else rounded(h0[direction, row])
            c: Any = np.zeros(hidden, np.float32) if c0 is None else c0[direction, row]
            for step in order:
                h, c = _cell(weights, start, x[step, row], h, c)
                y[step, direction, row] = h
            last_h[direction, row], last_c[direction, row] = h, c
    kind = x.dtype
    return [y.astype(kind), last_h.astype(kind), rounded(last_c).astype(kind)]


def _cell(
    weights: NDArray[Any], start: Floats, x: NDArray[Any], h: Floats, c: NDArray[Any]
) -> tuple[Floats, Floats]:
    """One step of one sequence. Gates are in ONNX's order: input, output, forget, cell."""
    sums = gemv(weights, np.concatenate((rounded(x), h)), start)
    size = len(h)
    i, o, f = (activate("Sigmoid", sums[index * size : (index + 1) * size]) for index in range(3))
    g = activate("Tanh", sums[3 * size :])
    state = f * c.astype(np.float32) + i * g
    return rounded(o * np.tanh(state)), np.asarray(state)
