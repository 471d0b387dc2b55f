"""``vaccelctl demo``: real models on a VF in a VM, checked against ONNX Runtime on the host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from vaccel.bench.where import Where
from vaccel.cli.benchmark import Json, Place, verdict
from vaccel.cli.options import CONTEXT, examples

if TYPE_CHECKING:
    from vaccel.bench.demo import Judged

app = typer.Typer(add_completion=False, context_settings=CONTEXT)


@app.command(epilog=examples("demo", "demo --where local", "demo --json"))
def demo(where: Place = Where.VM, as_json: Json = False) -> None:
    """Run two real models on a VF of an emulated NPU; exit 0 only if every output agrees.

    Starts a private daemon and a VM, and stops both at the end. The first run fetches the models
    and builds the guest image, which takes some minutes; later ones find both in the cache.
    """
    from vaccel.bench import demo as bench
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        judged = bench.run(where, progress)
    if as_json:
        print(json.dumps({"demo": "models", "where": where.value, "rows": _rows(judged)}))
    else:
        _show(judged)
    verdict(bool(judged) and all(one.agrees for one in judged))


def _rows(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    return [
        {
            "model": one.row.model,
            "answer": one.row.answer,
            "expected": one.expected,
            "truth": one.truth,
            "agrees": one.agrees,
            "max_error": one.agreement.max_error,
            "difference": one.agreement.difference,
            "launches": one.row.launches,
            "device_cycles": one.row.cycles,
            "device_ns": one.row.device_ns,
            "joules": one.row.joules,
            "load_ms": one.row.load_ms,
            "wall_ms": one.row.wall_ms,
        }
        for one in judged
    ]


def _show(judged: Sequence[Judged]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="real models on a VF of an emulated NPU", show_lines=True)
    table.add_column("model", style="bold")
    for one in judged:
        table.add_column(one.row.model)
    table.add_row("answer", *(_lines(one.row.answer) for one in judged))
    table.add_row("as made", *(_truth(one) for one in judged))
    table.add_row("agreement", *(_verdict(one) for one in judged))
    table.add_row("launches", *(f"{one.row.launches:,}" for one in judged))
    table.add_row("device cycles", *(f"{one.row.cycles:,}" for one in judged))
    table.add_row("device time", *(_si(one.row.device_ns * 1e-9, "s") for one in judged))
    table.add_row("energy", *(_si(one.row.joules, "J") for one in judged))
    table.add_row("wall time", *(_si(one.row.wall_ms * 1e-3, "s") for one in judged))
    Console().print(table, highlight=False)


def _lines(answer: str) -> str:
    return answer.replace(", ", "\n")


def _truth(one: Judged) -> str:
    return "the same" if one.truth == one.row.answer else _lines(one.truth)


def _verdict(one: Judged) -> str:
    if one.agrees:
        return f"[green]yes[/green], max error {one.agreement.max_error:.1e}"
    if one.agreement.difference:
        # The place is in brackets, which would read as a style.
        return "[red]NO[/red]: " + one.agreement.difference.replace("[", r"\[")
    return f"[red]NO[/red]: ONNX Runtime says\n{_lines(one.expected)}"


def _si(value: float, unit: str) -> str:
    """Three digits and a prefix, such as ``1.23 ms``."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "u")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"
