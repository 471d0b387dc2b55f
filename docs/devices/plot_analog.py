"""Draws ``analog-validation.svg`` and ``analog-drift.svg``.

OPENBLAS_NUM_THREADS=1 python docs/devices/plot_analog.py [ORACLES]

The first shows what the arrays' errors are predicted to be against what the simulators measured
(half a minute), the second how an array's error grows with its age.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from host_daemon.devices.nvm.analog.compensation import calibrate, factor
from host_daemon.devices.nvm.analog.converters import Converter, Periphery
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, Mapping
from host_daemon.devices.nvm.analog.presets import PCM, SONOS
from host_daemon.devices.nvm.oracles import ORACLES
from host_daemon.devices.validate import DEFAULT, read

WIDE, HIGH, MARGIN = 300, 300, 52
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
AGES = (("1 min", 60), ("1 h", 3600), ("1 day", 86400), ("1 month", 2592000), ("1 year", 31536000))


def _text(x: float, y: float, words: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{words}</text>'


def _frame(left: float, titles: tuple[str, str, str]) -> list[str]:
    bottom, middle = MARGIN + HIGH, MARGIN + HIGH / 2
    turned = f' transform="rotate(-90 {left - 40} {middle})"'
    return [
        f'<rect x="{left}" y="{MARGIN}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#888"/>',
        _text(left, MARGIN - 12, titles[0], "start"),
        _text(left + WIDE / 2, bottom + 36, titles[1]),
        _text(left - 40, middle, titles[2], more=turned),
    ]


def _page(panels: int, parts: Sequence[str]) -> str:
    width, height = panels * (WIDE + 2 * MARGIN), HIGH + 2 * MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="11">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _scatter(index: int, title: str, points: list[tuple[float, float]]) -> list[str]:
    low, high = -4, 0
    left, bottom = MARGIN + index * (WIDE + 2 * MARGIN), MARGIN + HIGH
    parts = _frame(left, (title, "simulated error", "predicted error"))
    parts.append(
        f'<line x1="{left}" y1="{bottom}" x2="{left + WIDE}" y2="{MARGIN}" stroke="#ccc"/>'
    )
    for power in range(low, high + 1):
        at = (power - low) / (high - low) * WIDE
        parts.append(_text(left + at, bottom + 16, f"1e{power}"))
        parts.append(_text(left - 4, bottom - at + 4, f"1e{power}", "end"))
    for expected, predicted in points:
        x, y = (
            (math.log10(max(each, 1e-4)) - low) / (high - low) * WIDE
            for each in (expected, predicted)
        )
        parts.append(
            f'<circle cx="{left + x:.1f}" cy="{bottom - y:.1f}" r="3" fill="{COLOURS[index]}"'
            ' opacity="0.5"/>'
        )
    return parts


def validation(folder: Path) -> str:
    """One panel per simulator; rows whose error is below 1e-4 are left out."""
    parts: list[str] = []
    for index, oracle in enumerate(ORACLES):
        rows = [row for row in read(folder / oracle.file) if float(row[oracle.result] or 0) > 1e-4]
        points = [(float(row[oracle.result]), oracle.predict(row)) for row in rows]
        errors = [abs(predicted / expected - 1) for expected, predicted in points]
        mean, worst = sum(errors) / len(errors), max(errors)
        name = oracle.file.split("/")[1].removesuffix(".csv")
        title = f"{name}: {len(points)} rows, off by {mean:.2%}, at most {worst:.1%}"
        parts += _scatter(index, title, points)
    return _page(len(ORACLES), parts)


def _aged(kind, compensated: bool) -> list[float]:
    """The relative error of an array of 256 x 256 normal weights at each age."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((256, 256)).astype(np.float32)
    x = rng.standard_normal((256, 256)).astype(np.float32)
    edge = Periphery(Converter.of(8), Converter.of(9, 20.0), bound_management=True)
    array, _ = CrossbarArray.program(weights, kind, edge, Mapping(), rng)
    baseline, exact, errors = calibrate(array.fresh(), rng), x @ weights, []
    for _, age in AGES:
        snapshot = array.at(age, rng)
        y, _ = snapshot.mvm(x, rng)
        if compensated:
            y *= factor(baseline, calibrate(snapshot, rng))
        errors.append(float(np.linalg.norm(y - exact) / np.linalg.norm(exact)))
    return errors


def drift() -> str:
    """One line per technology, with compensation and without."""
    left, bottom, top = MARGIN, MARGIN + HIGH, 0.6
    parts = _frame(left, ("256 x 256, 8-bit DAC, 9-bit ADC", "age", "relative error"))
    for tick in range(7):
        parts.append(_text(left - 4, bottom - tick / 6 * HIGH + 4, f"{tick / 10:.1f}", "end"))
    spread = [(math.log10(age) - 1.5) / 6.3 * WIDE for _, age in AGES]
    parts += [
        _text(left + x, bottom + 16, name) for x, (name, _) in zip(spread, AGES, strict=True)
    ]
    lines = [(kind, way) for kind in (PCM, SONOS) for way in (False, True)]
    for index, (kind, compensated) in enumerate(lines):
        errors = _aged(kind, compensated)
        heights = [bottom - error / top * HIGH for error in errors]
        pairs = zip(spread, heights, strict=True)
        points = " ".join(f"{left + x:.1f},{y:.1f}" for x, y in pairs)
        colour = COLOURS[index]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        name = f"{kind.name}{', compensated' if compensated else ''}"
        fill = f' fill="{colour}"'
        parts.append(_text(left + 8, MARGIN + 16 + 14 * index, name, "start", fill))
    return _page(1, parts)


if __name__ == "__main__":
    here = Path(__file__)
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    here.with_name("analog-drift.svg").write_text(drift(), encoding="utf-8")
    here.with_name("analog-validation.svg").write_text(validation(source), encoding="utf-8")
