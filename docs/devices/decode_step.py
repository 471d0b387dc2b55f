"""A decode step of one transformer block, batch 1: an NPU with DRAM that computes, and without.

python docs/devices/decode_step.py

Prints the tables of ``pim.md`` and draws ``decode_step.svg``. The NPU without is the same card with
the banks switched off: same arrays, same DRAM bandwidth, same standby power.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_daemon.core.device import Card, DeviceModel, NodeCost, Operation
from host_daemon.devices.npu.kind import NpuKind
from host_daemon.devices.npu_pim.kind import NpuPimKind
from host_daemon.devices.registry import find_card
from vaccel.model import Cost, DType, Shape

CARD = "kcloud-2"
F16 = DType.FLOAT16


@dataclass(frozen=True, slots=True)
class Block:
    """A block as Llama 2 7B has 32 of (Touvron et al., 2023), with so many tokens before."""

    width: int = 4096
    heads: int = 32
    inner: int = 11008
    tokens: int = 1024


def node(op: str, inputs: Sequence[Shape], output: Shape, weight: bool = False) -> Operation:
    """An operation in fp16."""
    constant = frozenset({len(inputs) - 1} if weight else ())
    return Operation(op, tuple((F16, each) for each in inputs), ((F16, output),), {}, constant)


def product(rows: int, k: int, n: int) -> Operation:
    """A product with weights."""
    return node("MatMul", [(rows, k), (k, n)], (rows, n), weight=True)


def block(shape: Block) -> list[tuple[str, Operation]]:
    """What one token asks for, with the group that the table adds it to."""
    d, h, t, inner = shape.width, shape.heads, shape.tokens, shape.inner
    e, row = d // h, (1, d)
    scores = (h, 1, t)
    return [
        ("norms", node("RMSNormalization", [row, (d,)], row)),
        ("q, k, v", product(1, d, 3 * d)),
        ("rotary", node("RotaryEmbedding", [(1, 2 * d)], (1, 2 * d))),
        ("attention", node("MatMul", [(h, 1, e), (h, e, t)], scores)),
        ("attention", node("Softmax", [scores], scores)),
        ("attention", node("MatMul", [scores, (h, t, e)], (h, 1, e))),
        ("output", product(1, d, d)),
        ("sums", node("Add", [row, row], row)),
        ("norms", node("RMSNormalization", [row, (d,)], row)),
        ("gate, up", product(1, d, 2 * inner)),
        ("gating", node("Swish", [(1, inner)], (1, inner))),
        ("gating", node("Mul", [(1, inner), (1, inner)], (1, inner))),
        ("down", product(1, inner, d)),
        ("sums", node("Add", [row, row], row)),
    ]


def both() -> tuple[Card, Card]:
    """The card, and the same with its banks switched off."""
    table: dict[str, Any] = tomllib.loads(find_card(CARD).read_text())
    card = NpuPimKind().card(table, CARD)
    plain = {key: value for key, value in table.items() if key != "pim"}
    pim = card.parameters.pim
    standby = card.parameters.banks.cores * pim.power.channel_active
    shared = card.parameters.npu.power.shared + standby
    power = plain["power"] | {"shared": {"value": f"{shared:.6f} W", "source": "design"}}
    return card, NpuKind().card(plain | {"kind": "npu", "power": power}, CARD)


def whole(card: Card, kind: NpuKind | NpuPimKind) -> DeviceModel:
    """All of a card as one VF."""
    return kind.model(card, max(card.profiles, key=lambda each: each.cores))


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step on one device."""

    nodes: list[tuple[str, NodeCost]]
    cost: Cost
    clock_hz: float

    @property
    def seconds(self) -> float:
        """Device time of the launch."""
        return self.cost.critical_cycles / self.clock_hz

    def group(self, name: str) -> tuple[float, float, str]:
        """Seconds, joules without static, and places of a group."""
        found = [each for group, each in self.nodes if group == name]
        return (
            sum(each.critical_cycles for each in found) / self.clock_hz,
            sum(sum(each.joules.values()) for each in found),
            " ".join(dict.fromkeys(each.place for each in found)),
        )


def run(device: DeviceModel, shape: Block) -> Step:
    """The step's cost."""
    nodes = [(name, device.cost(each)) for name, each in block(shape)]
    return Step(nodes, device.launch_cost([each for _, each in nodes]), device.clock_hz)


def tables(npu: Step, mixed: Step) -> str:
    """The groups, and the whole, as the page has them."""
    lines = [
        "| part | npu, us | npu-pim, us | where | npu, uJ | npu-pim, uJ |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(group for group, _ in npu.nodes):
        before, after = npu.group(name), mixed.group(name)
        lines.append(
            f"| {name} | {before[0] * 1e6:.1f} | {after[0] * 1e6:.1f} | {after[2]}"
            f" | {before[1] * 1e6:.0f} | {after[1] * 1e6:.0f} |"
        )
    static = [each.cost.joules["static"] + each.cost.joules["launch"] for each in (npu, mixed)]
    launch = [each.seconds - sum(n.critical_cycles for _, n in each.nodes) / each.clock_hz
              for each in (npu, mixed)]
    lines.append(
        f"| launch, static energy | {launch[0] * 1e6:.1f} | {launch[1] * 1e6:.1f} |"
        f" | {static[0] * 1e6:.0f} | {static[1] * 1e6:.0f} |"
    )
    lines.append(
        f"| **all** | **{npu.seconds * 1e6:.1f}** | **{mixed.seconds * 1e6:.1f}** |"
        f" | **{npu.cost.total_joules * 1e6:.0f}** | **{mixed.cost.total_joules * 1e6:.0f}** |"
    )
    return "\n".join(lines)


def one_product(devices: dict[str, DeviceModel]) -> str:
    """A single product with one row, as the page has it."""
    costs = [device.cost(product(1, 4096, 4096)) for device in devices.values()]
    busy = [
        ", ".join(f"`{unit}` {value:,}" for unit, value in cost.cycles.items()) for cost in costs
    ]
    lines = [
        "| | npu | npu-pim |",
        "| --- | --- | --- |",
        f"| busy | {busy[0]} | {busy[1]} |",
        "| start to end | " + " | ".join(f"{cost.critical_cycles:,}" for cost in costs) + " |",
    ]
    for text, level in (("over the pins", "dram"), ("inside the banks", "banks")):
        moved = [f"{cost.bytes.get(level, 0) / 1e6:.1f} MB" for cost in costs]
        lines.append(f"| bytes {text} | {moved[0]} | {moved[1]} |")
    joules = [f"{sum(cost.joules.values()) * 1e3:.2f} mJ" for cost in costs]
    lines.append(f"| joules, without standby | {joules[0]} | {joules[1]} |")
    return "\n".join(lines)


def sweep(device: DeviceModel, rows: Sequence[int], size: int = 4096) -> list[tuple[float, float]]:
    """(operations per byte of weights, operations per second) of products with such many rows."""
    points = []
    for count in rows:
        cost = device.cost(product(count, size, size))
        seconds = cost.critical_cycles / device.clock_hz
        points.append((2 * count / F16.itemsize, 2 * cost.macs / seconds))
    return points


ROWS = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256, 512)


def figure(card: Card, name: str) -> float:
    """A figure of a card by name."""
    return next(each.value for each in card.figures if each.name == name)


SIDE, MARGIN = 380, 60
X, Y = (0.5, 1000.0), (1e11, 1e15)
COLOURS = {"npu": "#1f77b4", "npu-pim": "#d62728"}


def _place(left: int, intensity: float, rate: float) -> tuple[float, float]:
    x = math.log(intensity / X[0]) / math.log(X[1] / X[0]) * SIDE
    y = math.log(rate / Y[0]) / math.log(Y[1] / Y[0]) * SIDE
    return left + x, MARGIN + SIDE - y


def _line(left: int, peak: float, bandwidth: float, colour: str, dash: str) -> str:
    corner = peak / bandwidth
    start = max(X[0], Y[0] / bandwidth)
    points = [
        _place(left, start, bandwidth * start),
        _place(left, corner, peak),
        _place(left, X[1], peak),
    ]
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-dasharray="{dash}"/>'


def roofline(left: int, card: Card, devices: dict[str, DeviceModel]) -> list[str]:
    """The roofs of arrays and banks, and what products of 4096 x 4096 reach under them."""
    bottom = MARGIN + SIDE
    parts = [
        f'<rect x="{left}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#888"/>',
        f'<text x="{left}" y="{MARGIN - 12}">products of M x 4096 by 4096 x 4096, fp16</text>',
        f'<text x="{left + SIDE / 2}" y="{bottom + 38}" text-anchor="middle">'
        "operations per byte of weights (= M)</text>",
        f'<text x="{left - 46}" y="{MARGIN + SIDE / 2}" text-anchor="middle"'
        f' transform="rotate(-90 {left - 46} {MARGIN + SIDE / 2})">operations per second</text>',
    ]
    for power in range(11, 16):
        _, y = _place(left, 1, 10.0**power)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">1e{power}</text>')
    for rows in (1, 10, 100, 1000):
        x, _ = _place(left, rows, 1e12)
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle">{rows}</text>')
    parts.append(_line(left, figure(card, "peak fp16"), figure(card, "bandwidth sustained"),
                       COLOURS["npu"], "6 3"))
    parts.append(_line(left, figure(card, "PIM peak fp16"), figure(card, "PIM internal bandwidth"),
                       COLOURS["npu-pim"], "2 3"))
    for index, (name, text) in enumerate(
        (("npu", "arrays behind DRAM's bus"), ("npu-pim", "banks")), start=1
    ):
        y = MARGIN + SIDE - 8 - 18 * index
        parts.append(
            f'<circle cx="{left + SIDE - 225}" cy="{y - 4}" r="{2 * index + 1}" fill="none"'
            f' stroke="{COLOURS[name]}" stroke-width="1.5"/>'
            f'<text x="{left + SIDE - 215}" y="{y}">{name}; line: {text}</text>'
        )
    for name, device in devices.items():
        radius = 5 if name == "npu-pim" else 3
        for intensity, rate in sweep(device, ROWS):
            x, y = _place(left, intensity, rate)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="none"'
                         f' stroke="{COLOURS[name]}" stroke-width="1.5"/>')
    return parts


SHADES = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c",
          "#ccb974", "#64b5cd")
REST = "#ddd"


def bars(
    left: int, title: str, steps: dict[str, Step], part: int, whole: dict[str, float]
) -> list[str]:
    """The step by part: ``part`` 0 stacks seconds, 1 joules; ``whole`` is what they add up to."""
    most = max(whole.values())
    parts = [f'<text x="{left}" y="{MARGIN - 12}">{title}</text>']
    for index, (name, step) in enumerate(steps.items()):
        x, y = left + 10 + index * 80, float(MARGIN + SIDE)
        values = [float(step.group(group)[part]) for group in groups(step)]
        values.append(whole[name] - sum(values))
        for shade, value in zip((*SHADES[: len(values) - 1], REST), values, strict=True):
            height = value / most * (SIDE - 20)
            y -= height
            parts.append(
                f'<rect x="{x}" y="{y:.1f}" width="60" height="{height:.1f}" fill="{shade}"/>'
            )
        parts.append(
            f'<text x="{x + 30}" y="{MARGIN + SIDE + 18}" text-anchor="middle">{name}</text>'
            f'<text x="{x + 30}" y="{y - 4:.1f}" text-anchor="middle">'
            f"{whole[name] * 1e6:,.0f}</text>"
        )
    return parts


def groups(step: Step) -> list[str]:
    """Parts of the step, in order."""
    return list(dict.fromkeys(name for name, _ in step.nodes))


def legend(left: int, step: Step) -> list[str]:
    """Which shade is which part."""
    parts = []
    names = groups(step)
    for index, (shade, name) in enumerate(
        zip((*SHADES[: len(names)], REST), (*names, "launch, static"), strict=True)
    ):
        y = MARGIN + 12 + index * 18
        parts.append(
            f'<rect x="{left}" y="{y - 10}" width="12" height="12" fill="{shade}"/>'
            f'<text x="{left + 18}" y="{y}">{name}</text>'
        )
    return parts


def draw(card: Card, devices: dict[str, DeviceModel], steps: dict[str, Step]) -> str:
    """The roofline, and the step beside it."""
    right = MARGIN + 10 + SIDE + 50
    seconds = {name: step.seconds for name, step in steps.items()}
    joules = {name: step.cost.total_joules for name, step in steps.items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 520}"'
        f' height="{SIDE + 2 * MARGIN}" font-family="sans-serif" font-size="11">',
        *roofline(MARGIN + 10, card, devices),
        *bars(right, "device time of the step, us", steps, 0, seconds),
        *bars(right + 200, "energy of the step, uJ", steps, 1, joules),
        *legend(right + 400, steps["npu"]),
    ]
    return "\n".join([*parts, "</svg>", ""])


def compute() -> tuple[dict[str, DeviceModel], dict[str, Step]]:
    """Both devices, whole, and the step on each."""
    card, plain = both()
    devices: dict[str, DeviceModel] = {
        "npu": whole(plain, NpuKind()),
        "npu-pim": whole(card, NpuPimKind()),
    }
    return devices, {name: run(device, Block()) for name, device in devices.items()}


def main() -> None:
    """Print and draw."""
    devices, steps = compute()
    print(one_product(devices), tables(steps["npu"], steps["npu-pim"]), sep="\n\n")
    picture = draw(both()[0], devices, steps)
    Path(__file__).with_name("decode_step.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
