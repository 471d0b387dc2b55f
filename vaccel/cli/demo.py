"""``vaccelctl demo``: real models on a VF in a VM, checked against ONNX Runtime on the host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaccel.bench.where import Where

if TYPE_CHECKING:
    from vaccel.bench.demo import Judged

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    where: Annotated[Where, typer.Option(help="Where the program runs.")] = Where.VM,
) -> None:
    """Run two real models on a VF of an emulated NPU; exit 0 only if every output agrees.

    Starts a private daemon and a VM, and stops both at the end.
    """
    from vaccel.bench import demo as bench
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        judged = bench.run(where, progress)
    if as_json:
        print(json.dumps({"demo": "models", "where": where.value, "rows": _rows(judged)}))
    else:
        _show(judged)
    raise typer.Exit(0 if judged and all(one.agrees for one in judged) else 1)


def _rows(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    return [
        {
            "model": one.row.model,
            "answer": one.row.answer,
            "expected": one.expected,
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
    table.add_column("model")
    table.add_column("answer", ratio=1)
    for title in ("agreement", "device cycles", "device time", "energy", "wall time"):
        table.add_column(title, justify="right")
    for one in judged:
        row, agreement = one.row, one.agreement
        verdict = f"yes, max error {agreement.max_error:.1e}" if one.agrees else "NO"
        table.add_row(
            f"{row.model}\n{row.launches} launches",
            row.answer,
            verdict,
            f"{row.cycles:,}",
            f"{row.device_ns / 1e6:.3f} ms",
            f"{row.joules * 1e3:.3f} mJ",
            f"{row.wall_ms:,.0f} ms",
        )
    console = Console()
    console.print(table)
    for one in judged:
        if one.row.answer != one.expected:
            console.print(f"{one.row.model}: the host's ONNX Runtime says: {one.expected}")
        if one.agreement.difference:
            console.print(f"{one.row.model}: {one.agreement.difference}")
