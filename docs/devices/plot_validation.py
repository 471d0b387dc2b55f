"""Draws ``validation.svg``: what the NPU model predicts against what the simulators measured.

python docs/devices/plot_validation.py [ORACLES]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from host_daemon.devices.npu.oracles import ORACLES
from host_daemon.devices.validate import DEFAULT, read

SIDE, MARGIN, LOW, HIGH = 360, 50, 1, 7
COLOURS = ("#1f77b4", "#d62728")


def _at(cycles: float) -> float:
    return (math.log10(cycles) - LOW) / (HIGH - LOW) * SIDE


def _panel(left: int, title: str, points: list[tuple[float, float]], colour: str) -> list[str]:
    bottom = MARGIN + SIDE
    lines = [
        f'<rect x="{left}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#888"/>',
        f'<line x1="{left}" y1="{bottom}" x2="{left + SIDE}" y2="{MARGIN}" stroke="#ccc"/>',
        f'<text x="{left}" y="{MARGIN - 12}">{title}</text>',
        f'<text x="{left + SIDE / 2}" y="{bottom + 38}" text-anchor="middle">'
        "simulated cycles</text>",
        f'<text x="{left - 36}" y="{MARGIN + SIDE / 2}" text-anchor="middle"'
        f' transform="rotate(-90 {left - 36} {MARGIN + SIDE / 2})">predicted cycles</text>',
    ]
    for power in range(LOW, HIGH + 1):
        at = _at(10**power)
        lines.append(
            f'<text x="{left + at}" y="{bottom + 18}" text-anchor="middle">1e{power}</text>'
            f'<text x="{left - 4}" y="{bottom - at + 4}" text-anchor="end">1e{power}</text>'
        )
    for expected, predicted in points:
        x, y = left + _at(expected), bottom - _at(predicted)
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" opacity="0.6"/>')
    return lines


def draw(folder: Path) -> str:
    """The plot, one panel per file of reference results."""
    width = 2 * (SIDE + 2 * MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{SIDE + 2 * MARGIN + 10}"'
        ' font-family="sans-serif" font-size="11">'
    ]
    for index, (oracle, colour) in enumerate(zip(ORACLES, COLOURS, strict=True)):
        rows = [row for row in read(folder / oracle.file) if row.get(oracle.result)]
        points = [(float(row[oracle.result]), float(oracle.predict(row))) for row in rows]
        worst = max(abs(predicted - expected) / expected for expected, predicted in points)
        title = f"{oracle.file}: {len(points)} rows, largest error {worst:.1%}"
        parts += _panel(MARGIN + 10 + index * (SIDE + 2 * MARGIN), title, points, colour)
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    Path(__file__).with_name("validation.svg").write_text(draw(source), encoding="utf-8")
