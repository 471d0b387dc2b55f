"""Pictures that a model has something to decide about, as it has not about noise; all made here
from a seed, of nobody and nothing real.

Text is letters of 5 by 7 dots on paper, blurred, with noise. A head is a slice as scanners show
them: a bright rim, tissue within, and in half of all cases a bright spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
_HEIGHT: Final = 7
_WIDTH: Final = 5
# Seven rows of five dots each, the most significant bit on the left.
_ROWS: Final = {
    "A": "0E11111F111111",
    "B": "1E11111E11111E",
    "C": "0E11101010110E",
    "D": "1E11111111111E",
    "E": "1F10101E10101F",
    "F": "1F10101E101010",
    "G": "0E11101711110F",
    "H": "1111111F111111",
    "K": "11121418141211",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11191513111111",
    "P": "1E11111E101010",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
    "V": "11111111110A04",
    "X": "11110A040A1111",
    "Y": "11110A04040404",
    "Z": "1F01020408101F",
    "2": "0E11010204081F",
    "3": "1F02040201110E",
    "4": "02060A121F0202",
    "5": "1F101E0101110E",
    "6": "0608101E11110E",
    "7": "1F010204080808",
    "8": "0E11110E11110E",
    "9": "0E11110F01020C",
}
_LETTERS: Final = tuple(_ROWS)
# Those that are another letter, or none, upside down.
_UPRIGHT: Final = tuple(letter for letter in _ROWS if letter not in "HNSXZ8")


def _glyph(letter: str) -> Floats:
    rows = bytes.fromhex(_ROWS[letter])
    return np.array([[row >> (_WIDTH - 1 - dot) & 1 for dot in range(_WIDTH)] for row in rows])


def ink(
    rng: np.random.Generator, letters: int, dot: int, among: Sequence[str] = _LETTERS
) -> Floats:
    """A line of random letters, 1 where there is ink: ``dot`` pixels to a dot."""
    parts = []
    for letter in rng.choice(among, letters):
        parts += [_glyph(str(letter)), np.zeros((_HEIGHT, 1), int)]
    return np.kron(np.concatenate(parts[:-1], axis=1), np.ones((dot, dot)))


def _blurred(plane: Floats) -> Floats:
    """Over a pixel to each side, as lenses do."""
    grown = np.pad(plane, 1, mode="edge")
    down = grown[:-2] + 2 * grown[1:-1] + grown[2:]
    return np.asarray((down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 16)


def _printed(rng: np.random.Generator, plane: Floats) -> Floats:
    """(1, 3, height, width) in [-1, 1]: dark ink on light paper, and the noise of a camera."""
    paper, dark = rng.uniform(0.75, 1, 3), rng.uniform(0, 0.25, 3)
    shade = _blurred(plane)[None]
    picture = paper[:, None, None] * (1 - shade) + dark[:, None, None] * shade
    picture = np.clip(picture + rng.normal(scale=0.02, size=picture.shape), 0, 1)
    return np.ascontiguousarray((2 * picture - 1)[None].astype(np.float32))


def line(rng: np.random.Generator, width: int, *, turned: bool = False) -> Floats:
    """A line of text of 48 pixels' height that fills the width; upside down in half of all cases
    where it may be ``turned``.
    """
    dot = 5
    most = (width - 8) // ((_WIDTH + 1) * dot)
    text = ink(rng, most, dot, _UPRIGHT if turned else _LETTERS)
    plane = np.zeros((48, width))
    top, left = (48 - text.shape[0]) // 2, (width - text.shape[1]) // 2
    plane[top : top + text.shape[0], left : left + text.shape[1]] = text
    if turned and rng.random() < 0.5:
        plane = plane[::-1, ::-1]
    return _printed(rng, plane)


def page(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Lines of text, one under another, each of its own size and place."""
    plane = np.zeros((height, width))
    top = int(rng.integers(8, 16))
    while True:
        dot = int(rng.integers(2, 4))
        room = (width - 16) // ((_WIDTH + 1) * dot)
        if top + dot * _HEIGHT + 8 > height or room < 2:
            return _printed(rng, plane)
        text = ink(rng, int(rng.integers(2, room + 1)), dot)
        left = int(rng.integers(8, width - 8 - text.shape[1] + 1))
        plane[top : top + text.shape[0], left : left + text.shape[1]] = text
        top += text.shape[0] + int(rng.integers(8, 20))


def head(rng: np.random.Generator, side: int) -> Floats:
    """A slice through a head, as (1, side, side, 3) in [0, 1], all channels the same."""
    down, across = 2 * np.mgrid[0:side, 0:side] / side - 1
    turn = rng.uniform(-0.3, 0.3)
    along = across * np.cos(turn) + down * np.sin(turn)
    over = down * np.cos(turn) - across * np.sin(turn)
    radius = (along / rng.uniform(0.6, 0.8)) ** 2 + (over / rng.uniform(0.7, 0.9)) ** 2
    shade = np.where(radius < 1, rng.uniform(0.25, 0.4), 0.02)
    shade += np.where((radius < 1) & (radius > 0.85), rng.uniform(0.2, 0.4), 0)
    for _ in range(6):
        waves = rng.normal(scale=5, size=2)
        phase = waves[0] * across + waves[1] * down + rng.random()
        shade += np.where(radius < 0.85, 0.04 * np.sin(2 * np.pi * phase), 0)
    if rng.random() < 0.5:
        left, top = rng.uniform(-0.3, 0.3, 2)
        apart = (across - left) ** 2 + (down - top) ** 2
        shade += rng.uniform(0.3, 0.5) * np.exp(-apart / rng.uniform(0.08, 0.2) ** 2)
    picture = np.clip(shade + rng.normal(scale=0.02, size=shade.shape), 0, 1)
    return np.repeat(picture[..., None], 3, axis=2)[None].astype(np.float32)
