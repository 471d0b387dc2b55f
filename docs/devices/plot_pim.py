"""Draws ``pim.svg``: HBM-PIM's predicted cycles against simulated ones, and what GEMV attains.

python docs/devices/plot_pim.py [ORACLES]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from host_daemon.core.device import Operation
from host_daemon.devices.pim.hbm.oracles import ORACLES
from host_daemon.devices.pim.host import HostModel
from host_daemon.devices.registry import find_card, find_profile, load_card, model
from host_daemon.devices.validate import DEFAULT, read
from vaccel.model import DType

SIDE, MARGIN = 360, 60
BANKS, HOST, GREY = "#1f77b4", "#d62728", "#888"
PROFILE = "pim.16c.6g"
SIZES = tuple(round(2 ** (half / 2)) for half in range(12, 29))


class Panel:
    """Logarithmic axes: powers of ten from ``low`` to ``high`` on each."""

    def __init__(self, left: int, title: str, x: tuple[str, int, int], y: tuple[str, int, int]):
        self.left, self.x, self.y = left, x, y
        bottom = MARGIN + SIDE
        self.parts = [
            f'<rect x="{left}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none"'
            f' stroke="{GREY}"/>',
            f'<text x="{left}" y="{MARGIN - 12}">{title}</text>',
            f'<text x="{left + SIDE / 2}" y="{bottom + 38}" text-anchor="middle">{x[0]}</text>',
            f'<text x="{left - 40}" y="{MARGIN + SIDE / 2}" text-anchor="middle"'
            f' transform="rotate(-90 {left - 40} {MARGIN + SIDE / 2})">{y[0]}</text>',
        ]
        for power in range(x[1], x[2] + 1):
            at = self.at(10**power, 10 ** y[1])[0]
            self.parts.append(
                f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">1e{power}</text>'
            )
        for power in range(y[1], y[2] + 1):
            at = self.at(10 ** x[1], 10**power)[1]
            self.parts.append(
                f'<text x="{left - 4}" y="{at + 4:.1f}" text-anchor="end">1e{power}</text>'
            )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the picture."""
        across = (math.log10(x) - self.x[1]) / (self.x[2] - self.x[1])
        up = (math.log10(y) - self.y[1]) / (self.y[2] - self.y[1])
        return self.left + across * SIDE, MARGIN + SIDE - up * SIDE

    def line(self, points: list[tuple[float, float]], colour: str, dashes: str = "") -> None:
        """A line through points."""
        path = " ".join("{:.1f},{:.1f}".format(*self.at(*point)) for point in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="{dashes}"/>'
        )

    def dots(self, points: list[tuple[float, float]], colour: str) -> None:
        """A dot at each point."""
        for point in points:
            x, y = self.at(*point)
            self.parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" opacity="0.6"/>'
            )

    def label(self, x: float, y: float, text: str, colour: str) -> None:
        """A text that begins at a point."""
        across, down = self.at(x, y)
        self.parts.append(f'<text x="{across:.1f}" y="{down:.1f}" fill="{colour}">{text}</text>')


def validation(left: int, folder: Path) -> Panel:
    """Every row of the simulator's cycles."""
    oracle = ORACLES[0]
    rows = [row for row in read(folder / oracle.file) if row.get(oracle.result)]
    points = [(float(row[oracle.result]), float(oracle.predict(row))) for row in rows]
    equal = sum(expected == predicted for expected, predicted in points)
    title = f"PIMSimulator: {len(points)} rows, {equal} equal to the cycle"
    panel = Panel(left, title, ("simulated cycles", 2, 5), ("predicted cycles", 2, 5))
    panel.line([(1e2, 1e2), (1e5, 1e5)], GREY, "3")
    panel.dots(points, BANKS)
    return panel


def roofline(left: int) -> Panel:
    """FLOP/s of an n x n product of matrix and vector, in the banks and at the host."""
    card = load_card(find_card("aquabolt-xl"))
    profile = find_profile(card, PROFILE)
    device, host = model(card, profile), HostModel(card, profile)
    title = f"n x n matrix by vector in fp16, {PROFILE}"
    panel = Panel(left, title, ("n", 1, 5), ("GFLOP/s", -1, 4))
    inside = {figure.name: figure.value for figure in card.figures}["peak fp16"]
    peak = inside * profile.cores / card.cores / 1e9
    # A weight of two bytes is one multiply-add: as many GFLOP/s as GB/s.
    bus = host.bytes_per_cycle * card.clock_hz / 1e9
    for rate, name, colour in ((peak, "PIM blocks", BANKS), (bus, "bus to the host", HOST)):
        panel.line([(10, rate), (1e5, rate)], colour, "3")
        panel.label(12, rate * 1.15, f"{name}, {rate:.0f}", colour)
    found: dict[str, list[tuple[float, float]]] = {"banks": [], "host": []}
    for size in SIZES:
        specs = ((DType.FLOAT16, (1, size)), (DType.FLOAT16, (size, size)))
        operation = Operation("MatMul", specs, ((DType.FLOAT16, (1, size)),), {}, frozenset({1}))
        for name, cost in (("banks", device.cost(operation)), ("host", host.cost(operation))):
            seconds = cost.critical_cycles / card.clock_hz
            found[name].append((size, 2 * size * size / seconds / 1e9))
    for name, colour in (("banks", BANKS), ("host", HOST)):
        panel.line(found[name], colour)
        panel.dots(found[name], colour)
    return panel


def draw(folder: Path) -> str:
    """Both panels."""
    width = 2 * (SIDE + 2 * MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{SIDE + 2 * MARGIN}"'
        ' font-family="sans-serif" font-size="11">'
    )
    panels = (validation(MARGIN, folder), roofline(MARGIN + SIDE + 2 * MARGIN))
    return "\n".join([head, *(part for panel in panels for part in panel.parts), "</svg>", ""])


if __name__ == "__main__":
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    Path(__file__).with_name("pim.svg").write_text(draw(source), encoding="utf-8")
