"""An explanation as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from vaccel.cli import render
from vaccel.cli.figures import value_text
from vaccel.cli.sizes import count_text, size_text

Explanation = Mapping[str, Any]


def show(found: Explanation) -> None:
    """Print target, totals, memory, and a row for each node."""
    total, target, memory = found["total"], found["target"], found["memory"]
    inputs = ", ".join(f"{i['name']}: {i['dtype']}{i['shape']}" for i in found["inputs"])
    whole = max(1, sum(row["critical_cycles"] for row in found["nodes"]))
    render.print_table(
        ("node", "op", "runs on", "cycles", "time", "moved", "energy", "busy", "of roof", "why"),
        [_row(row, whole) for row in found["nodes"]],
        "Nothing runs: all of it is constant.",
    )
    for why, count in Counter(row["why"] for row in found["left_out"]).most_common():
        render.say(f"left out: {count_text(count, 'node')}: {why}")
    by = ", ".join(f"{count} {place}" for place, count in sorted(total["nodes"].items()))
    fused = sum(1 for row in found["nodes"] if row["fused_into"])
    render.print_fields(
        (
            ("target", f"{target['profile']} of {target['card']}"),
            ("inputs", inputs),
            ("nodes", by + (f"; {fused} of them fused into the products before" if fused else "")),
            ("cycles", total["critical_cycles"]),
            ("device time", value_text(total["device_ns"] / 1e9, "s")),
            ("energy", value_text(total["joules"], "J")),
            ("device memory", _memory(memory)),
        )
    )


def _row(row: Mapping[str, Any], whole: int) -> tuple[str, ...]:
    busiest = max(row["utilisation"].items(), key=lambda each: float(each[1]), default=("-", 0.0))
    of_roof = row["roofline"].get("of_roof")
    times = f" x{row['runs']}" if row["runs"] > 1 else ""
    return (
        row["name"][:48],
        row["op"] + times,
        row["place"],
        str(row["critical_cycles"]),
        f"{row['critical_cycles'] / whole:.1%}",
        size_text(max(row["bytes"].values(), default=0)),
        value_text(row["joules"], "J"),
        f"{busiest[0]} {busiest[1]:.0%}",
        "-" if of_roof is None else f"{of_roof:.0%} ({row['roofline']['side']})",
        row["why"],
    )


def _memory(memory: Mapping[str, Any]) -> str:
    capacity = size_text(memory["capacity_bytes"])
    if "peak_bytes" not in memory:
        return f"not known, of {capacity}"
    text = (
        f"{size_text(memory['peak_bytes'])} of {capacity} at {memory['at']},"
        f" {size_text(memory['weight_bytes'])} of it weights"
    )
    unknown = memory["unknown_values"]
    return text + (f"; {unknown} values of unknown size not counted" if unknown else "")
