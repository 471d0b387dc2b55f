"""What each kind of card makes of a product: where it rounds, and so how far it may be off.

An operand that a card rounds to an arithmetic is rounded here too, to nearest even with subnormals,
so that results are compared with the exact product of the rounded operands: what is left are the
sums and the results, of which docs/devices/npu.md and pim.md say how they are rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import ml_dtypes
import numpy as np

from host_daemon.devices.registry import find_card, load_card
from tests.unit.host_daemon.compiler.kernels.roundoff import (
    FORMATS,
    RESULTS,
    U,
    gamma,
    stored,
)

# A card of each kind, and of each family of banks.
CARDS: Final = ("kcloud-1", "aquabolt-xl", "aim", "kcloud-2", "kcloud-3")
# Kernels of two matrices: all that banks and tiles can ask for among products.
MATRICES: Final = ("matmul", "batched_matmul", "gemv", "linear")
FLOATS: Final = ("float32", "float16")
# Families of banks by card.
HALVES: Final = ("aquabolt-xl", "kcloud-2")
ALIGNED: Final = ("aim",)
LANES: Final = 16
# Inputs of one tile of HBM-PIM: those of even tiles are summed before those of odd ones.
TILE: Final = 128
_SHORT: Final = {
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
}

Multiply = Callable[[np.ndarray, np.ndarray], np.ndarray]


def arithmetics(card: str, name: str) -> list[str]:
    """What a product of floats can be asked for: its tensors' own, and the card's by name."""
    known = load_card(find_card(card)).arithmetic
    named = [each for each in known if each in _SHORT or each == "fp32"]
    if card in (*ALIGNED, "aquabolt-xl") and name not in MATRICES:
        named = []  # banks take matrices only, and the card refuses the rest by name
    return [*FLOATS, *named]


def rounded(x: np.ndarray, arithmetic: str) -> np.ndarray:
    """An operand as the card takes it, in float64."""
    short = _SHORT.get(arithmetic)
    return np.asarray((x if short is None else x.astype(short)).astype(np.float64))


def product(
    card: str,
    places: frozenset[str],
    operands: tuple[np.ndarray, np.ndarray],
    multiply: Multiply,
    arithmetic: str,
    depth: int,
    bias: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The exact product of the operands as the card rounds them, and the error of its sums.

    ``multiply`` is the exact bilinear operation, a sum of ``depth`` products each; a ``bias`` is
    added to it. ``arithmetic`` is a named one, or the tensors' type.
    """
    a, b = (rounded(each, arithmetic) for each in operands)
    if places == {"banks"} and card in HALVES:
        return in_halves(a, b, multiply, bias)
    if places == {"banks"}:
        return aligned(a, b, multiply, depth, bias)
    # Arrays, and processors: sums in float32, the bias among them, rounded once.
    if card in ALIGNED and arithmetic == "bf16":
        bias = rounded(np.asarray(bias, np.float32), arithmetic)
    exact = multiply(a, b) + bias
    error = gamma(depth + 1) * (multiply(np.abs(a), np.abs(b)) + np.abs(bias))
    return exact, stored(exact, error, RESULTS.get(arithmetic, kind_of(arithmetic)))


def is_of(found: np.ndarray, arithmetic: str) -> bool:
    """Whether results are numbers of the format that the arithmetic leaves them in."""
    short = _SHORT.get(RESULTS.get(arithmetic, ""))
    if short is None or found.dtype != np.float32:
        return True
    return np.array_equal(found.astype(short).astype(np.float32), found)


def kind_of(arithmetic: str) -> str:
    """The type whose numbers a result has that no arithmetic was asked for."""
    return "float32" if arithmetic == "fp32" else arithmetic


def aligned(
    a: np.ndarray, b: np.ndarray, multiply: Multiply, depth: int, bias: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """GDDR6-AiM (docs/devices/pim.md): products of bf16 are exact. Of 16 the largest, p, is within
    2^(e-1) <= p < 2^e; the others are cut off below 2^(e-24), which is 2u p at most, and u is that
    of float32. Their sum is rounded to float32 and added in float32. So for groups of 16 over all
    products, with the bias, rounded to bf16, in the register beforehand:

        |sum - exact| <= gamma(2 (16 - 1) + 1 + groups) (sum |a b| + |bias|)

    and reading the register rounds to bf16.
    """
    bias = rounded(np.asarray(bias, np.float32), "bf16")
    exact = multiply(a, b) + bias
    groups = -(-depth // LANES)
    units = 2 * (min(depth, LANES) - 1) + 1 + groups
    sizes = multiply(np.abs(a), np.abs(b)) + np.abs(bias)
    return exact, stored(exact, gamma(units) * sizes, "bf16")


def in_halves(
    a: np.ndarray, b: np.ndarray, multiply: Multiply, bias: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """HBM-PIM (docs/devices/pim.md): every product and every sum is rounded to fp16. Input k is
    summed in lane k mod 16, tiles of 128 inputs of even number before those of odd number; then
    the host adds the lanes in order. A running bound (Higham, section 3.3) follows the sums s in
    this order: a sum of parts that are off by e and f is off by

        g = e + f + u (|s| + e + f)

    without an eta, since sums of halves are multiples of the least half. A bias is added in
    float32, and the result rounded once more.
    """
    half = FORMATS["fp16"]
    inputs = np.arange(a.shape[-1])
    tiles = inputs // TILE
    shape = (LANES, *multiply(a, b).shape)
    lanes, off = np.zeros(shape), np.zeros(shape)
    for k in (*inputs[tiles % 2 == 0], *inputs[tiles % 2 == 1]):
        lane, alone = k % LANES, np.zeros_like(a)
        alone[..., k] = a[..., k]
        one = multiply(alone, b)
        error = half.u * np.abs(one) + half.eta
        lanes[lane], off[lane] = _sum(lanes[lane], off[lane], one, error, half.u)
    total, error = np.zeros(shape[1:]), np.zeros(shape[1:])
    for lane in range(LANES):
        total, error = _sum(total, error, lanes[lane], off[lane], half.u)
    if np.any(bias):
        total = total + bias
        error = stored(total, error + U * (np.abs(total) + error), "fp16")
    return total, error


def _sum(s: np.ndarray, e: np.ndarray, t: np.ndarray, f: np.ndarray, u: float):
    """Two numbers that are off by so much, added and rounded."""
    both = s + t
    # Zero is what lanes without inputs hold: adding it rounds nothing.
    rounding = np.where((s == 0) & (e == 0) | (t == 0) & (f == 0), 0.0, u)
    return both, e + f + rounding * (np.abs(both) + e + f)
