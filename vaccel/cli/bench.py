"""``vaccelctl bench``: benchmarks that start and stop what they need by themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaccel.bench.where import Where

if TYPE_CHECKING:
    from vaccel.bench.overhead import Result

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure this host, with a private daemon and, where asked, a VM."""


@app.command()
def overhead(
    where: Annotated[Where, typer.Option(help="Where the program runs.")] = Where.LOCAL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare a model's call on a VF with the same call of ONNX Runtime in process."""
    from vaccel.bench import overhead as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(where, progress)
    if as_json:
        print(result.as_json())
    else:
        _show(result)


@app.command()
def device(
    card: Annotated[str, typer.Option(metavar="NAME", help="A card of the catalogue, or a file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure a card through a VF of all of it, beside its public figures; exit 1 if one is missed.

    Peak of each arithmetic, bandwidth of each level, launch overhead, energy, power.
    """
    from vaccel.bench import device as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(card, progress)
    if as_json:
        print(result.as_json())
    else:
        from vaccel.cli.device_table import show

        show(result)
    if not result.met:
        raise typer.Exit(1)


@app.command()
def quantised(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare a network quantised to int8 with itself in fp32, on one VF."""
    from vaccel.bench import quantised as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(progress)
    if as_json:
        print(result.as_json())
        return
    from vaccel.cli import render

    headings = ("model", "fp32", "int8", "faster by", "difference", "card, fp32", "card, int8")
    render.print_table(
        headings,
        [
            (
                row.model,
                f"{row.fp32_ms:.2f} ms",
                f"{row.int8_ms:.2f} ms",
                f"{row.speedup:.2f} x",
                f"{row.difference:.2%}",
                f"{row.fp32_cycles} cycles",
                f"{row.int8_cycles} cycles",
            )
            for row in result.rows
        ],
        "",
    )
    render.say(f"CPU {'with' if result.vnni else 'without'} VNNI, {measured.THREADS} thread")


@app.command()
def onnx(
    only: Annotated[str, typer.Option(metavar="TEXT", help="Cases with this in their name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Run ONNX's own suite of backends on a VF, and say how much of it passes and where it ran."""
    from vaccel.bench import onnx_suite as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(progress, only)
    if as_json:
        print(result.as_json())
        return
    for row in (*result.failures, *result.exclusions):
        print(f"{row.case}: {row.reason}")
    where = ", ".join(f"{count} {place}" for place, count in result.nodes.items())
    print(
        f"onnx {result.onnx}: {result.passed} of {result.cases} cases passed, {result.failed}"
        f" failed, {result.excluded} excluded; nodes: {where}"
    )


@app.command()
def agreement(
    inputs: Annotated[int, typer.Option(min=1, metavar="N", help="Inputs for each model.")] = 200,
    only: Annotated[str, typer.Option(metavar="TEXT", help="Models with this in their name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare public models on a VF with ONNX Runtime in process; exit 1 where one differs."""
    from vaccel.bench import agreement as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(progress, inputs, only)
    if as_json:
        print(result.as_json())
    else:
        _table(
            f"within {result.relative:g} relative plus {result.absolute:g}, synthetic inputs",
            ("model", "agreed", "inputs", "worst / allowed"),
            [(r.model, str(r.agreed), str(r.inputs), f"{r.worst:.3f}") for r in result.rows],
        )
    if not result.agreed:
        raise typer.Exit(1)


@app.command(name="compile")
def compile_time(
    only: Annotated[str, typer.Option(metavar="TEXT", help="Models with this in their name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time loading models and a program file, and the memory that it takes at its peak."""
    from vaccel.bench import compile as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(progress, only)
    if as_json:
        print(result.as_json())
        return
    from vaccel.cli import render

    render.print_table(
        ("model", "nodes", "MB", "load", "of CPU", "again", "one copy", "peak", "of its size"),
        [
            (
                row.model,
                row.nodes,
                f"{row.model_bytes / 1e6:.1f}",
                f"{row.compile_ms:.0f} ms",
                f"{row.cpu_ms:.0f} ms",
                f"{row.again_ms:.0f} ms",
                f"{row.copy_ms:.0f} ms",
                f"{row.peak_bytes / 1e6:.0f} MB",
                f"{row.peak_bytes / row.model_bytes:.1f} x",
            )
            for row in result.rows
        ],
        "",
    )


@app.command(name="large")
def large_model(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Load and run a model of 2.7 GB, and compare it with ONNX Runtime. It takes 8 GB of memory."""
    from vaccel.bench import large_model as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(progress)
    if as_json:
        print(result.as_json())
    else:
        from vaccel.cli import render

        render.print_table(
            ("model", "GB", "load", "again", "run", "peak", "differing elements"),
            [
                (
                    result.model,
                    f"{result.model_bytes / 1e9:.2f}",
                    f"{result.load_ms / 1e3:.1f} s",
                    f"{result.again_ms / 1e3:.1f} s",
                    f"{result.run_ms:.0f} ms",
                    f"{result.peak_bytes / 1e9:.2f} GB",
                    f"{result.differs} of {result.elements}",
                )
            ],
            "",
        )
    if result.differs:
        raise typer.Exit(1)


@app.command()
def latency(
    where: Annotated[Where, typer.Option(help="Where the program runs.")] = Where.LOCAL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time null commands through shared memory, and empty gRPC calls beside them."""
    result = _measured("latency", where)
    if as_json:
        print(json.dumps(result))
        return
    _table(
        f"a null command from submit to completion ({where.value})",
        ("", "us"),
        [(key, f"{result[key]:.1f}") for key in result if key.endswith(("_us", "_command"))]
        + [("speedup_p50", f"{result['speedup_p50']:.0f} x")],
    )
    times = [key for key in result if key.endswith(("_us", "_command"))]
    _plot([(key, result[key]) for key in times], "us")


@app.command()
def bandwidth(
    where: Annotated[Where, typer.Option(help="Where the program runs.")] = Where.LOCAL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Time filling and emptying staging arrays, and gRPC writes beside them."""
    result = _measured("bandwidth", where)
    if as_json:
        print(json.dumps(result))
        return
    kinds = ("write_MBps", "read_MBps", "memcpy_MBps", "grpc_MBps")
    _table(
        f"MB/s of staging arrays ({where.value})",
        ("KiB", *kinds),
        [
            (str(row["size"] >> 10), *("-" if row[k] is None else f"{row[k]:.1f}" for k in kinds))
            for row in result["rows"]
        ],
    )
    bars = [
        (f"{row['size'] >> 10} KiB {kind.removesuffix('_MBps')}", row[kind] or 0.0)
        for row in result["rows"]
        for kind in kinds
    ]
    _plot(bars, "MB/s")


@app.command()
def plug(
    cycles: Annotated[int, typer.Option(min=1, max=100_000, help="How often.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Plug a VF into a guest and take it away again, under a running app; see what is left."""
    from vaccel.bench import plug as measured
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        result = measured.run(cycles, progress)
    if as_json:
        print(json.dumps(result))
        return
    figures = list(result)[list(result).index("cycles") :]
    _table(
        "a VF comes and goes under an app in a guest",
        ("", ""),
        [(key.replace("_", " "), f"{result[key]:,.0f}") for key in figures],
    )


def _measured(bench: str, where: Where) -> dict[str, Any]:
    from vaccel.bench import paths
    from vaccel.bench.reporter import Reporter

    with Reporter() as progress:
        return paths.run(bench, where, progress)


def _plot(bars: Sequence[tuple[str, float]], unit: str) -> None:
    from vaccel.cli import bars as plots
    from vaccel.cli import render

    print()
    render.say("\n".join(plots.plot(bars, unit)))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _show(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"a call on a VF ({result.where}) and in process")
    table.add_column("model")
    for title in ("on the VF", "in process", "ratio", "ratio of p99"):
        table.add_column(title, justify="right")
    for row in result.rows:
        table.add_row(
            row.model,
            f"{row.wall_ms_guest:.2f} ms",
            f"{row.wall_ms_host_inprocess:.2f} ms",
            f"{row.ratio:.2f}",
            f"{row.ratio_p99:.2f}",
        )
    Console().print(table)
    _plot(
        [
            bar
            for row in result.rows
            for bar in (
                (f"{row.model} on the VF", row.wall_ms_guest),
                (f"{row.model} in process", row.wall_ms_host_inprocess),
            )
        ],
        "ms",
    )
