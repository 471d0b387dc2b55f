"""FP16 to the bit: against integers, and against the public simulator's vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from host_daemon.devices.pim.hbm import fp16
from host_daemon.devices.validate import DEFAULT
from tests.unit.host_daemon.devices.pim.hbm import reference

# Zeros, ones, the smallest and largest of each kind, infinities, a NaN, and ties.
EDGES = [0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x3C00, 0xBC00, 0x3C01, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00]
EDGES += [0x7E00, 0x1400, 0x3800, 0x0200, 0x6800, 0xE801]


def _pairs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    bits = random.integers(0, 1 << 16, (2, 20_000), dtype=np.uint16)
    near = np.uint16(0x83FF) & bits  # subnormals
    edges = np.array(EDGES, np.uint16)
    left = np.concatenate([bits[0], near[0], np.repeat(edges, len(edges))])
    right = np.concatenate([bits[1], bits[1], np.tile(edges, len(edges))])
    return left, right


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_one_operation_is_exact(name: str) -> None:
    left, right = _pairs()
    expected = [
        getattr(reference, name)(a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True)
    ]
    given = getattr(fp16, name)(left.view(np.float16), right.view(np.float16))
    assert given.view(np.uint16).tolist() == expected


@pytest.mark.parametrize("name", ["add", "multiply"])
@pytest.mark.parametrize(
    "mask", [0xBFFF, 0x83FF, 0x93FF, 0x8000], ids=["below two", "subnormal", "small", "zeros"]
)
def test_operations_that_cannot_overflow_are_exact(name: str, mask: int) -> None:
    """They go another way: more elements than a block of it, of any shape."""
    random = np.random.default_rng(mask)
    bits = random.integers(0, 1 << 16, (2, 3, 3000), dtype=np.uint16) & np.uint16(mask)
    bits[:, 0, :4] = [[0, 0x8000, 0, 0x8000], [0, 0x8000, 0x8000, 0]]
    bits[1, 1] = bits[0, 1] ^ np.uint16(0x8000)  # sums that are zero
    left, right = bits
    given = getattr(fp16, name)(left.view(np.float16), right.T.copy().T.view(np.float16))
    pairs = zip(left.ravel().tolist(), right.ravel().tolist(), strict=True)
    expected = [getattr(reference, name)(a, b) for a, b in pairs]
    assert given.shape == left.shape
    assert given.view(np.uint16).ravel().tolist() == expected


def _equal(bits: np.ndarray, vector: np.ndarray) -> None:
    given = fp16.gemv(bits.view(np.float16), vector.view(np.float16)[None])[0]
    assert given.view(np.uint16).tolist() == reference.gemv(bits.tolist(), vector.tolist())


@pytest.mark.parametrize("inputs", [1, 15, 16, 17, 128, 129, 300])
def test_gemv_of_ordinary_numbers(inputs: int) -> None:
    random = np.random.default_rng(inputs)
    weights = random.standard_normal((5, inputs)).astype(np.float16)
    vector = random.standard_normal(inputs).astype(np.float16)
    _equal(weights.view(np.uint16), vector.view(np.uint16))


@pytest.mark.parametrize(
    ("mask", "shift"),
    [(0xFFFF, 0), (0x83FF, 0), (0x93FF, 0), (0xCFFF, 0), (0x8FFF, 0x2000)],
    ids=["any bits", "subnormals", "near subnormals", "middling", "small"],
)
def test_gemv_of_random_bits(mask: int, shift: int) -> None:
    random = np.random.default_rng(mask)
    bits = random.integers(0, 1 << 16, (40, 288), dtype=np.uint16) & np.uint16(mask)
    vector = random.integers(0, 1 << 16, 288, dtype=np.uint16) & np.uint16(mask)
    _equal(bits, (vector + np.uint16(shift)).astype(np.uint16))


@pytest.mark.parametrize("bad", [0x7C00, 0xFC00, 0x7E00])
def test_infinities_and_nan_go_through(bad: int) -> None:
    random = np.random.default_rng(bad)
    weights = random.standard_normal((4, 200)).astype(np.float16).view(np.uint16)
    vector = random.standard_normal(200).astype(np.float16).view(np.uint16)
    weights[1, 77] = bad
    _equal(weights, vector)
    vector[5] = bad
    weights[2, 5] = 0
    _equal(weights, vector)


def test_sums_that_overflow_become_infinite() -> None:
    weights = np.full((3, 64), 60000, np.float16)
    weights[1] = -60000
    weights[2, ::2] = -60000
    _equal(weights.view(np.uint16), np.ones(64, np.float16).view(np.uint16))


def test_relu_looks_at_the_sign_bit() -> None:
    given = np.array([0x8000, 0xFE00, 0x7E00, 0xBC00, 0x3C00], np.uint16).view(np.float16)
    assert fp16.relu(given).view(np.uint16).tolist() == [0, 0, 0x7E00, 0, 0x3C00]


def test_the_public_vectors() -> None:
    vectors = json.loads((DEFAULT / "pim" / "pimsimulator_gemv_bitexact.json").read_text())
    # As the simulator's own generator draws them, by NumPy's legacy generator.
    random = np.random.RandomState(1113)
    x = random.standard_normal(size=(1024, 1)).astype(np.float16)[:, 0]
    weights = random.standard_normal(size=(4096, 1024)).astype(np.float16)
    random.shuffle(weights)
    assert x.view(np.uint16).tolist() == vectors["x_fp16_bits"]
    lanes = fp16.lanes(fp16.to_bursts(weights[:16]), x)
    assert lanes.view(np.uint16).tolist() == vectors["lanes_fp16_bits_first16rows"]
    expected = vectors["y_fp16_bits"]
    given = fp16.gemv(weights[: len(expected)], x[None])[0]
    assert given.view(np.uint16).tolist() == expected


def test_several_rows_are_several_vectors() -> None:
    random = np.random.default_rng(3)
    weights = random.standard_normal((2100, 40)).astype(np.float16)
    rows = random.standard_normal((3, 40)).astype(np.float16)
    together = fp16.gemv(weights, rows)
    for row, given in zip(rows, together, strict=True):
        assert np.array_equal(fp16.gemv(weights, row[None])[0], given)


@pytest.mark.parametrize("inputs", [16, 40, 128])
def test_weights_may_be_any_view(inputs: int) -> None:
    random = np.random.default_rng(8)
    weights = random.standard_normal((90, inputs)).astype(np.float16)
    vector = random.standard_normal((1, inputs)).astype(np.float16)
    expected = fp16.gemv(weights, vector)
    turned = np.ascontiguousarray(weights.T)
    wide = np.zeros((90, 2 * inputs + 3), np.float16)
    wide[:, 1 : inputs + 1] = weights
    spread = np.repeat(weights, 2, axis=1)
    for view in (turned.T, wide[:, 1 : inputs + 1], spread[:, ::2], np.repeat(weights, 2, 0)[::2]):
        assert np.array_equal(fp16.gemv(view, vector), expected)


def test_this_cpu_is_proven() -> None:
    fp16.prove()
