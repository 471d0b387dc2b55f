"""Recurrent layers in float64, each result with the error that roundings may make of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tests.unit.host_daemon.compiler.kernels.machines import LANES
from tests.unit.host_daemon.compiler.kernels.roundoff import ELEMENTARY, FORMATS, U, gamma

Found = tuple[np.ndarray, np.ndarray]


class Steps(Protocol):
    """Where the steps of a layer are rounded."""

    def sums(self, sizes: np.ndarray, bias: np.ndarray, depth: int) -> np.ndarray:
        """The error of ``depth`` products of such sizes together, and of biases that are added."""

    def operation(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        """That of a product or a sum, on top of what its operands make of it."""

    def curve(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        """That of a sigmoid or a tanh."""


class Singles:
    """All in float32: sums of n terms within gamma(n), operations u, curves ELEMENTARY u."""

    def sums(self, sizes: np.ndarray, bias: np.ndarray, depth: int) -> np.ndarray:
        return gamma(depth + 3) * (sizes + bias)

    def operation(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        return U * (np.abs(value) + error)

    def curve(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        return np.full_like(value, ELEMENTARY * U)


class Halves:
    """An LSTM in the banks of HBM-PIM (docs/devices/pim.md). With u and eta of fp16:

    Of a gate each product is rounded, and then at most ceil(n / 16) - 1 sums in its lane and
    min(n, 16) - 1 of lanes: gamma(ceil(n / 16) + min(n, 16) - 1) of sizes, and eta a product, in
    units of fp16. Biases are added in float32. Curves are float32's, rounded to fp16 as they are
    written; so is every product and sum of the cell.
    """

    half = FORMATS["fp16"]

    def sums(self, sizes: np.ndarray, bias: np.ndarray, depth: int) -> np.ndarray:
        count = -(-depth // LANES) + min(depth, LANES) - 1
        short = count * self.half.u / (1 - count * self.half.u)
        error = short * sizes + (1 + short) * depth * self.half.eta
        return np.asarray(error + gamma(2) * (sizes + bias + error))

    def operation(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        return self.half.u * (np.abs(value) + error) + self.half.eta

    def curve(self, value: np.ndarray, error: np.ndarray) -> np.ndarray:
        first = np.full_like(value, ELEMENTARY * U)
        return first + self.operation(value, error + first)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


class Cell:
    """One direction of a layer, in float64, with a bound of what rounding makes of it.

    A gate's sum p = W x + R h + b has the error of its sums, and |R| dh for the state's own. A
    curve of slope at most s makes s dp of dp, beside its own. Products of gates add up as
    d(ab) <= |a| db + |b| da + da db, and the rounding.
    """

    def __init__(self, arrays: dict, gates: int, direction: int, steps: Steps) -> None:
        self.w, self.r = arrays["w"][direction], arrays["r"][direction]
        size = gates * self.r.shape[1]
        bias = arrays["bias"][direction] if "bias" in arrays else np.zeros(2 * size)
        self.wb, self.rb = bias[:size], bias[size:]
        self.hidden = self.r.shape[1]
        self.steps = steps

    def part(self, gate: int) -> slice:
        return slice(gate * self.hidden, (gate + 1) * self.hidden)

    def sums(self, x, h, dh, gate: int, scale=None, dscale=None) -> Found:
        """W x + R (scale h) + b of a gate, and its error."""
        p = self.part(gate)
        if scale is not None:
            dh = self.times(scale, dscale, h, dh)[1]
            h = scale * h
        exact = x @ self.w[p].T + h @ self.r[p].T + self.wb[p] + self.rb[p]
        sizes = np.abs(x) @ np.abs(self.w[p]).T + (np.abs(h) + dh) @ np.abs(self.r[p]).T
        bias = np.abs(self.wb[p]) + np.abs(self.rb[p])
        own = self.steps.sums(sizes, bias, x.shape[1] + self.hidden)
        return exact, own + dh @ np.abs(self.r[p]).T

    def curve(self, function, value: np.ndarray, error: np.ndarray) -> Found:
        slope = 0.25 if function is sigmoid else 1.0
        exact, error = function(value), slope * error
        return exact, error + self.steps.curve(exact, error)

    def times(self, a, da, b, db) -> Found:
        error = np.abs(a) * db + np.abs(b) * da + da * db
        return a * b, error + self.steps.operation(a * b, error)

    def plus(self, a, da, b, db) -> Found:
        return a + b, da + db + self.steps.operation(a + b, da + db)


def step_rnn(cell: Cell, x, h, dh, c, dc, linear):
    h, dh = cell.curve(np.tanh, *cell.sums(x, h, dh, 0))
    return h, dh, c, dc


def step_gru(cell: Cell, x, h, dh, c, dc, linear):
    z, dz = cell.curve(sigmoid, *cell.sums(x, h, dh, 0))
    r, dr = cell.curve(sigmoid, *cell.sums(x, h, dh, 1))
    if linear:
        p = cell.part(2)
        inner = h @ cell.r[p].T + cell.rb[p]
        sizes = np.abs(h) @ np.abs(cell.r[p]).T + np.abs(cell.rb[p])
        dinner = gamma(cell.hidden + 1) * sizes + dh @ np.abs(cell.r[p]).T
        inner, dinner = cell.times(r, dr, inner, dinner)
        outer = x @ cell.w[p].T + cell.wb[p]
        sizes = np.abs(x) @ np.abs(cell.w[p]).T + np.abs(cell.wb[p])
        sums = cell.plus(outer, gamma(x.shape[1] + 1) * sizes, inner, dinner)
    else:
        sums = cell.sums(x, h, dh, 2, r, dr)
    n, dn = cell.curve(np.tanh, *sums)
    left = cell.times(1 - z, dz + U, n, dn)
    right = cell.times(z, dz, h, dh)
    h, dh = cell.plus(*left, *right)
    return h, dh, c, dc


def step_lstm(cell: Cell, x, h, dh, c, dc, linear):
    i, di = cell.curve(sigmoid, *cell.sums(x, h, dh, 0))
    o, do = cell.curve(sigmoid, *cell.sums(x, h, dh, 1))
    f, df = cell.curve(sigmoid, *cell.sums(x, h, dh, 2))
    g, dg = cell.curve(np.tanh, *cell.sums(x, h, dh, 3))
    c, dc = cell.plus(*cell.times(f, df, c, dc), *cell.times(i, di, g, dg))
    h, dh = cell.times(o, do, *cell.curve(np.tanh, c, dc))
    return h, dh, c, dc


STEPS = {"rnn": (1, step_rnn), "gru": (3, step_gru), "lstm": (4, step_lstm)}


def layer(name: str, arrays: dict, direction: str, linear: bool, steps: Steps) -> dict[str, Found]:
    """Every result of a layer, each with its error."""
    gates, step = STEPS[name]
    x = arrays["x"]
    given = (len(x), arrays["w"].shape[0], x.shape[1], arrays["r"].shape[2])
    y, dy = np.zeros(given), np.zeros(given)
    last = {key: (np.zeros(given[1:]), np.zeros(given[1:])) for key in ("y_h", "y_c")}
    for number in range(given[1]):
        cell, zero = Cell(arrays, gates, number, steps), np.zeros(given[2:])
        h, c = (arrays.get(f"initial_{each}", [zero, zero])[number] for each in "hc")
        dh, dc = zero, zero
        backward = direction == "reverse" or number == 1
        for t in reversed(range(len(x))) if backward else range(len(x)):
            h, dh, c, dc = step(cell, x[t], h, dh, c, dc, linear)
            y[t, number], dy[t, number] = h, dh
        for key, value, error in (("y_h", h, dh), ("y_c", c, dc)):
            last[key][0][number], last[key][1][number] = value, error
    return {"y": (y, dy), **last}
