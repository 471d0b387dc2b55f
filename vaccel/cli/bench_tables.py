"""How each benchmark's result is drawn. ``device_table`` has the one that needs footnotes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaccel.cli import render
from vaccel.cli.benchmark import draw
from vaccel.cli.sizes import size_text

if TYPE_CHECKING:
    from vaccel.bench import agreement, compile, large_model, onnx_suite, overhead, quantised

Found = Mapping[str, Any]


def show_overhead(result: overhead.Result) -> None:
    """Milliseconds per call on both sides, and their ratio."""
    rows, bars = [], []
    for row in result.rows:
        there, here = row.wall_ms_guest, row.wall_ms_host_inprocess
        ratios = f"{row.ratio:.2f}", f"{row.ratio_p99:.2f}"
        rows.append((row.model, f"{there:.2f} ms", f"{here:.2f} ms", *ratios))
        bars += [(f"{row.model} on the VF", there), (f"{row.model} in process", here)]
    headings = ("model", "on the VF", "in process", "ratio", "ratio of p99")
    draw(f"a call on a VF ({result.where}) and in process", headings, rows, bars, "ms")


def show_quantised(result: quantised.Result) -> None:
    """A network in int8 beside itself in fp32."""
    rows = [
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
    ]
    headings = ("model", "fp32", "int8", "faster by", "difference", "card, fp32", "card, int8")
    draw(f"on a CPU {'with' if result.vnni else 'without'} VNNI, 1 thread", headings, rows)


def show_onnx(result: onnx_suite.Result) -> None:
    """What does not pass and why, then the counts."""
    for row in (*result.failures, *result.exclusions):
        render.say(f"{row.case}: {row.reason}")
    where = ", ".join(f"{count} {place}" for place, count in result.nodes.items())
    render.say(
        f"onnx {result.onnx}: {result.passed} of {result.cases} cases passed, {result.failed}"
        f" failed, {result.excluded} excluded; nodes: {where}"
    )


def show_agreement(result: agreement.Result) -> None:
    """How many inputs agree as numbers, and how many decisions are the same."""
    title = f"numbers within {result.relative:g} relative plus {result.absolute:g}"
    headings = ("model", "in", "inputs", "agree", "decisions", "the same", "cycles")
    rows = [
        (
            row.model,
            row.arithmetic,
            row.inputs,
            row.agreed,
            row.decisions,
            f"{row.same / row.decisions:.2%}" if row.decisions else "-",
            f"{row.cycles:,}",
        )
        for row in result.rows
    ]
    draw(f"{title}; synthetic inputs", headings, rows)


def show_compile(result: compile.Result) -> None:
    """Times of loading, and memory at its peak."""
    rows = [
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
    ]
    headings = ("model", "nodes", "MB", "load", "of CPU", "again", "one copy", "peak")
    draw("loading a model on a fresh worker", (*headings, "of its size"), rows)


def show_large(result: large_model.Result) -> None:
    """A model that no single protobuf could hold."""
    row = (
        result.model,
        f"{result.model_bytes / 1e9:.2f}",
        f"{result.load_ms / 1e3:.1f} s",
        f"{result.again_ms / 1e3:.1f} s",
        f"{result.run_ms:.0f} ms",
        f"{result.peak_bytes / 1e9:.2f} GB",
        f"{result.differs} of {result.elements}",
    )
    headings = ("model", "GB", "load", "again", "run", "peak", "differing elements")
    draw("a large model, with ONNX Runtime beside it", headings, [row])


def show_latency(result: Found) -> None:
    """Microseconds of each kind of command."""
    times = [key for key in result if key.endswith(("_us", "_command"))]
    rows = [(key, f"{result[key]:.1f} us") for key in times]
    rows.append(("speedup_p50", f"{result['speedup_p50']:.0f} x"))
    title = f"a null command from submit to completion ({result['where']})"
    draw(title, ("", "time"), rows, [(key, result[key]) for key in times], "us")
    if result["void"]:
        render.say(f"\nthis run is void: {result['void_reason']}")


def show_bandwidth(result: Found) -> None:
    """MB/s of each size and way."""
    kinds = ("write_MBps", "read_MBps", "memcpy_MBps", "grpc_MBps")
    rows, bars = [], []
    for row in result["rows"]:
        size = size_text(row["size"])
        rows.append((size, *("-" if row[k] is None else f"{row[k]:,.1f}" for k in kinds)))
        measured = [kind for kind in kinds if row[kind] is not None]
        bars += [(f"{size} {kind.removesuffix('_MBps')}", row[kind]) for kind in measured]
    names = [kind.removesuffix("_MBps") for kind in kinds]
    draw(f"MB/s of staging arrays ({result['where']})", ("size", *names), rows, bars, "MB/s")


def show_plug(result: Found) -> None:
    """The figures that follow the number of cycles."""
    figures = [key for key in list(result)[list(result).index("cycles") :] if key != "grown"]
    rows = [(key.replace("_", " "), f"{result[key]:,.0f}") for key in figures]
    draw("a VF comes and goes under an app in a guest", ("", ""), rows)
    for name in result["grown"]:
        render.say(f"\n{name} holds more descriptors than before the first cycle")
