"""FP16 as a PIM block computes it: rounded after the multiply, and again after the add.

IEEE 754 binary16, to nearest, ties to even, subnormals kept. NumPy computes such operations in
float32 and rounds once more, which is the same: the product of two halves is exact in 24 bits, and
for their sum a second rounding from 24 to 11 bits is harmless (Figueroa, "When is double rounding
innocuous?", SIGNUM 1995: p >= 2q + 2). Any NaN is the quiet NaN 0x7e00: which one comes out of an
operation is not part of IEEE 754.

``lanes`` is the fast path of GEMV. It holds halves as float32 and rounds by adding and subtracting
1.5 * 2^(e + 13), whose last bit is the half's. It is used where nothing can overflow, which the
largest magnitudes decide beforehand; all else takes NumPy's halves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.pim.hbm.kernels import LANES, TILE_INPUTS
from host_daemon.devices.pim.hbm.timing import BURST_BYTES
from host_daemon.devices.pim.hbm.transactions import REGISTERS
from vaccel.errors import HostFault

Half = NDArray[np.float16]
_NAN: Final = np.uint16(0x7E00)
_EXPONENT: Final = np.int32(0x7F800000)
# To the exponent of 1.5 * 2^(e + 13), from that of 2^e.
_TO_MAGIC: Final = np.int32((13 << 23) | 0x400000)
# Below 2^-14 a half is subnormal: its last bit stays 2^-24.
_LEAST_NORMAL: Final = np.int32((127 - 14) << 23)
# Sign, exponent and fraction of a half that was shifted up by 13 with its sign.
_FIELDS: Final = np.uint32(0x8FFFE000).view(np.int32)
# A half's bits, so shifted, are its value times this, subnormals included.
_SCALE: Final = np.float32(2.0**-112)
_UNSCALE: Final = np.float32(2.0**112)
_MOST: Final = 65504.0
_SIGN: Final = np.int32(0x8000)
_MAGNITUDE: Final = np.int32(0x7FFF)
# Elements at a time, so that three of float32 stay in a core's L1 cache or close to it.
_BLOCK: Final = 1 << 13
# Rows at a time: 16 lanes of them, three times over, stay in a core's L2 cache.
_ROWS: Final = 2048
# One row of a chunk is this many outputs wide, so that NumPy's inner loops are long.
_WIDE: Final = 64


def quiet(values: Half) -> Half:
    """The same, every NaN the one of this module."""
    wrong = np.isnan(values)
    if wrong.any():
        values = values.copy()
        values.view(np.uint16)[wrong] = _NAN
    return values


def multiply(left: Half, right: Half) -> Half:
    """Products of halves, each rounded once."""
    if left.shape == right.shape and _largest(left) * _largest(right) < _MOST:
        return _in_blocks(np.multiply, left, right)
    return _plainly(np.multiply, left, right)


def add(left: Half, right: Half) -> Half:
    """Sums of halves, each rounded once."""
    if left.shape == right.shape and _largest(left) + _largest(right) < _MOST:
        return _in_blocks(np.add, left, right)
    return _plainly(np.add, left, right)


def _plainly(operation: np.ufunc, left: Half, right: Half) -> Half:
    """By NumPy's halves, of any shapes and values."""
    with np.errstate(all="ignore"):
        return quiet(np.asarray(operation(left, right), np.float16))


def _in_blocks(operation: np.ufunc, left: Half, right: Half) -> Half:
    """A product or sum of each two halves, rounded as ``_accumulate`` does: none may overflow."""
    found = np.empty(left.shape, np.float16)
    out, lefts, rights = (each.reshape(-1).view(np.int16) for each in (found, left, right))
    room = np.empty((3, min(_BLOCK, out.size)), np.float32)
    for start in range(0, out.size, _BLOCK):
        stop = min(start + _BLOCK, out.size)
        value, other, magic = room[:, : stop - start]
        bits, sign, magic_bits = (each.view(np.int32) for each in (value, other, magic))
        for half, wide, wide_bits in ((lefts, value, bits), (rights, other, sign)):
            np.left_shift(half[start:stop], 13, out=wide_bits, dtype=np.int32)
            np.bitwise_and(wide_bits, _FIELDS, out=wide_bits)
            np.multiply(wide, _UNSCALE, out=wide)
        operation(value, other, out=value)
        # Rounding below loses the sign of a zero.
        np.right_shift(bits, 16, out=sign)
        np.bitwise_and(sign, _SIGN, out=sign)
        np.bitwise_and(bits, _EXPONENT, out=magic_bits)
        np.maximum(magic_bits, _LEAST_NORMAL, out=magic_bits)
        np.add(magic_bits, _TO_MAGIC, out=magic_bits)
        np.add(value, magic, out=value)
        np.subtract(value, magic, out=value)
        np.multiply(value, _SCALE, out=value)
        np.right_shift(bits, 13, out=bits)
        np.bitwise_and(bits, _MAGNITUDE, out=bits)
        np.bitwise_or(bits, sign, out=bits)
        np.copyto(out[start:stop], bits, casting="unsafe")
    return found


def relu(values: Half) -> Half:
    """Zero where the sign is set, NaN and -0 included: the block looks at the sign bit alone."""
    # A half with a sign is a negative integer.
    return np.maximum(values.view(np.int16), np.int16(0)).view(np.float16)


def order(bursts: int) -> Iterator[int]:
    """Bursts of 16 inputs in the order in which a block sees them: tiles of eight in even banks
    first, then those in odd banks.
    """
    for parity in (0, 1):
        for tile in range(parity, -(-bursts // REGISTERS), 2):
            yield from range(tile * REGISTERS, min((tile + 1) * REGISTERS, bursts))


def _runs(bursts: int, most: int) -> Iterator[tuple[int, int]]:
    """The same as (first, end) of up to ``most`` neighbours, which never leave their tile."""
    for parity in (0, 1):
        for tile in range(parity, -(-bursts // REGISTERS), 2):
            end = min((tile + 1) * REGISTERS, bursts)
            for first in range(tile * REGISTERS, end, most):
                yield first, min(first + most, end)


def lane_sum(lanes: Half) -> Half:
    """Lanes [..., 16] added up by the host, in order, in FP16, from +0."""
    total = np.zeros(lanes.shape[:-1], np.float16)
    for lane in range(LANES):
        total = add(total, lanes[..., lane])
    return total


def to_bursts(weights: Half, room: NDArray[Any] | None = None) -> Half:
    """[outputs, inputs] as [bursts of 16 inputs, outputs, 16], zeros where inputs run out.

    ``room`` is memory to put them in, at least as many bursts of 32 bytes. Weights may be any
    view, such as a transposed one.
    """
    outputs, inputs = weights.shape
    bursts = -(-inputs // LANES)
    if bursts * LANES != inputs:
        padded = np.zeros((outputs, bursts * LANES), np.float16)
        padded[:, :inputs] = weights
        weights = padded
    if room is None:
        room = np.empty(bursts * outputs, "V32")
    found = room[: bursts * outputs].reshape(bursts, outputs)
    halves = found.view(np.float16).reshape(bursts, outputs, LANES)
    if weights.strides[1] == weights.itemsize and weights.strides[0] % BURST_BYTES == 0:
        np.copyto(found, weights.view("V32").T)  # whole bursts lie together
    else:
        np.copyto(halves, weights.T.reshape(bursts, LANES, outputs).transpose(0, 2, 1))
    return halves


def gemv(weights: Half, vectors: Half) -> Half:
    """[outputs, inputs] by each row of [rows, inputs], as banks and host compute it:
    [rows, outputs]. Raises ValueError where they do not fit.
    """
    outputs, inputs = weights.shape
    if vectors.shape[1] != inputs:
        raise ValueError(f"{inputs} inputs, vectors of {vectors.shape[1]}")
    found = np.zeros((len(vectors), outputs), np.float16)
    room = np.empty(min(outputs, _ROWS) * -(-inputs // LANES), "V32")
    for start in range(0, outputs, _ROWS):
        part = to_bursts(weights[start : start + _ROWS], room)
        for row, vector in zip(found, vectors, strict=True):
            row[start : start + _ROWS] = _outputs(part, vector)
    return found


def _outputs(bursts: Half, vector: Half) -> Half:
    """Lanes and their sums: [outputs]."""
    inputs = _padded(bursts, vector)
    if _bound(bursts, inputs) * LANES < _MOST:
        return _fast_sum(_fast(bursts, inputs))
    return lane_sum(lanes(bursts, vector))


def _padded(bursts: Half, vector: Half) -> Half:
    inputs = np.zeros(len(bursts) * LANES, np.float16)
    inputs[: len(vector)] = vector
    return inputs


def lanes(bursts: Half, vector: Half) -> Half:
    """The accumulators [outputs, 16] of all outputs; ``bursts`` as ``to_bursts`` makes them."""
    count, outputs, _ = bursts.shape
    inputs = _padded(bursts, vector)
    if _bound(bursts, inputs) < _MOST:
        return _fast(bursts, inputs).astype(np.float16)
    total = np.zeros((outputs, LANES), np.float16)
    for index in order(count):
        total = add(total, multiply(bursts[index], inputs[index * LANES : (index + 1) * LANES]))
    return total


def _largest(values: Half) -> float:
    if values.size == 0:
        return 0.0
    # Bits without the sign are ordered like magnitudes: the largest of those without a sign bit
    # are the largest signed integer's, of those with one, the largest unsigned one's.
    signed, unsigned = int(values.view(np.int16).max()), int(values.view(np.uint16).max())
    bits = max(signed, unsigned & 0x7FFF if unsigned & 0x8000 else 0)
    return float(np.uint16(bits).view(np.float16)) if bits < 0x7C00 else float("inf")


def _bound(bursts: Half, inputs: Half) -> float:
    """What no lane can exceed at any step; infinity where a number is not finite or too large."""
    left, right = _largest(bursts), _largest(inputs)
    if not right < 32768.0 or not left <= _MOST:
        return float("inf")
    # Each step rounds, by at most one part in 2048 of what is there; so do the sums of lanes.
    steps = len(bursts) + LANES
    return left * right * len(bursts) * (1 + 2.0**-10) ** steps


def _fast(bursts: Half, inputs: Half) -> NDArray[np.float32]:
    count, outputs, _ = bursts.shape
    wide = min(_WIDE, max(1, outputs))
    rows = -(-outputs // wide)
    flat = bursts.view(np.int16).reshape(count, outputs * LANES)
    if rows * wide != outputs:
        padded = np.zeros((count, rows * wide * LANES), np.int16)
        padded[:, : outputs * LANES] = flat
        flat = padded
    scaled = inputs.astype(np.float32).reshape(count, 1, LANES) / _SCALE
    vector = np.tile(scaled, (1, wide, 1)).reshape(count, wide * LANES)
    total = _accumulate(flat.reshape(count, rows, wide * LANES), vector)
    return total.reshape(-1, LANES)[:outputs]


def _fast_sum(lanes_of: NDArray[np.float32]) -> Half:
    """``lane_sum`` of halves held as float32."""
    columns = np.ascontiguousarray(lanes_of.T)
    total = np.zeros(columns.shape[1], np.float32)
    magic = np.empty_like(total)
    total_bits, magic_bits = total.view(np.int32), magic.view(np.int32)
    for column in columns:
        np.add(total, column, out=total)
        np.bitwise_and(total_bits, _EXPONENT, out=magic_bits)
        np.add(magic_bits, _TO_MAGIC, out=magic_bits)
        np.add(total, magic, out=total)
        np.subtract(total, magic, out=total)
    return total.astype(np.float16)


def _accumulate(bits: NDArray[np.int16], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Halves as float32: the sum over bursts of bits times vector, each step rounded twice."""
    shape = bits.shape[1:]
    # Products do not wait for one another: of few outputs, those of several bursts go together.
    together = min(REGISTERS, max(1, _ROWS * LANES // math.prod(shape)))
    total, products = np.zeros(shape, np.float32), np.empty((together, *shape), np.float32)
    magics = np.empty_like(products)
    addend = magics[0]  # free again once the products are rounded
    total_bits, addend_bits = total.view(np.int32), addend.view(np.int32)
    # NumPy takes the larger of two arrays three times as fast as that of an array and a number.
    least = np.full(shape[-1], _LEAST_NORMAL)
    for first, end in _runs(len(bits), together):
        product, magic = products[: end - first], magics[: end - first]
        product_bits, magic_bits = product.view(np.int32), magic.view(np.int32)
        np.left_shift(bits[first:end], 13, out=product_bits, dtype=np.int32)
        np.bitwise_and(product_bits, _FIELDS, out=product_bits)
        np.multiply(product, vector[first:end, None], out=product)
        np.bitwise_and(product_bits, _EXPONENT, out=magic_bits)
        np.maximum(magic_bits, least, out=magic_bits)
        np.add(magic_bits, _TO_MAGIC, out=magic_bits)
        np.add(product, magic, out=product)
        np.subtract(product, magic, out=product)
        for each in product:
            # A sum of halves is a multiple of 2^-24 already: it has no subnormal case.
            np.add(total, each, out=total)
            np.bitwise_and(total_bits, _EXPONENT, out=addend_bits)
            np.add(addend_bits, _TO_MAGIC, out=addend_bits)
            np.add(total, addend, out=total)
            np.subtract(total, addend, out=total)
    return total


def prove() -> None:
    """That this CPU rounds as it should, subnormals included. Raises HostFault. Milliseconds."""
    random = np.random.default_rng(5)
    bits = random.integers(0, 1 << 16, (3 * TILE_INPUTS, 40), dtype=np.uint16)
    small: Any = bits & np.uint16(0x93FF)  # magnitudes below 2^-9, most of them subnormal or near
    vector = (bits[:, 0] & np.uint16(0xBFFF)).view(np.float16)  # magnitudes below 2
    weights = np.ascontiguousarray(small.T).view(np.float16)
    slow = np.zeros((40, LANES), np.float16)
    bursts = to_bursts(weights)
    same = True
    for index in order(len(bursts)):
        part = np.broadcast_to(vector[index * LANES : (index + 1) * LANES], slow.shape)
        product = _plainly(np.multiply, bursts[index], part)
        same = same and _same(_in_blocks(np.multiply, bursts[index], part), product)
        total = _plainly(np.add, slow, product)
        same = same and _same(_in_blocks(np.add, slow, product), total)
        slow = total
    fast = _fast(bursts, vector)
    summed = np.zeros(len(slow), np.float16)
    for lane in range(LANES):
        summed = _plainly(np.add, summed, slow[:, lane])
    if not (same and _same(fast.astype(np.float16), slow) and _same(_fast_sum(fast), summed)):
        raise HostFault(
            "this CPU does not round float32 as IEEE 754 asks",
            hint="switch off flush-to-zero for this process",
        )


def _same(left: Half, right: Half) -> bool:
    return np.array_equal(left.view(np.uint16), right.view(np.uint16))
