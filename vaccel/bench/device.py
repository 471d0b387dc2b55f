"""Micro-benchmarks of a card, beside what its file and its vendor say of it.

    peak              2 * MACs / busy cycles of the arrays, the best of a few square products
    sustained         2 * MACs / device time of the same product
    energy per MAC    joules of the arrays / MACs
    bandwidth         bytes / cycles in which the DRAM's bus carries them
    ... sustained     bytes / device time, the difference of two streams: what both take cancels out
    SRAM bandwidth    bytes through the vector core / its busy cycles
    launch, node      device time of a launch of one node that does nothing, and of one of two
    power idle        joules that the idle VF was metered for / seconds
    power peak        static + MACs/s * energy per MAC + DRAM's bytes/s * energy per byte, at peak

The whole card is one VF here. A figure is met within 2 %, power within 10 %: of the published value
where there is one, else of the card's file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vaccel.bench import result
from vaccel.bench.device_probes import SIDES, STREAMS, DeviceProbes, Probes
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.errors import Exhausted, Unsupported
from vaccel.inventory import PF, Figure
from vaccel.model import Cost

TOLERANCE: Final = 0.02
POWER_TOLERANCE: Final = 0.10


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity in ``unit``. ``expected`` is published, or else the card's own; 0 is neither.

    ``met`` is None where there is nothing to compare with.
    """

    quantity: str
    measured: float
    expected: float
    published: bool
    unit: str
    error_pct: float | None
    met: bool | None
    source: str
    unverified: bool


@dataclass(frozen=True, slots=True)
class Result(result.Result):
    """The one object that the benchmark prints."""

    card: str
    profile: str
    rows: tuple[Row, ...]

    @property
    def met(self) -> bool:
        """Whether every figure that there is was reproduced."""
        return all(row.met is not False for row in self.rows)


def run(card: str, progress: Progress) -> Result:
    """Start a private daemon with the card, measure through a VF of all of it, stop.

    Raises Unsupported for a card that states no figures, and what the daemon raises.
    """
    import vaccel

    with PrivateHost(card=card, progress=progress) as host:
        (pf,) = host.admin.pfs()
        profile = max(pf.profiles, key=lambda each: each.cores).name
        _check(pf)
        vf = host.admin.create_vf(profile)
        vf = host.admin.attach_vf(vf.id, local=True, progress=progress)

        def meter() -> tuple[float, float]:
            usage = host.admin.vf(vf.id).usage
            return usage.idle_joules, time.monotonic() - usage.device_ns * 1e-9

        with vaccel.open(address=vf.socket) as device:
            probes = DeviceProbes(device, meter)
            rows = tuple(measure(probes, pf.figures, pf.clock_hz, progress))
    return Result(*result.head("device"), pf.card, profile, rows)


def _check(pf: PF) -> None:
    # Banks and crossbars have no square products of the machine's own operands to show.
    peaks = any(figure.name.startswith("peak ") for figure in pf.figures)
    if pf.kind in ("pim", "nvm") or not peaks:
        raise Unsupported(
            f"card {pf.card} of kind {pf.kind} states no figures to reproduce",
            hint="choose an npu card: kcloud-1, rngd, warboy, ...",
        )


def measure(
    probes: Probes, figures: Sequence[Figure], clock_hz: float, progress: Progress
) -> Iterator[Row]:
    """All rows; ``clock_hz`` turns the costs' cycles into seconds."""
    known = {figure.name: figure for figure in figures}
    idle_before = probes.idle()
    progress("launch overhead", -1.0)
    one, two = (probes.chain(nodes).critical_cycles / clock_hz for nodes in (1, 2))
    yield _row("launch overhead", 2 * one - two, known)
    yield _row("node issue", two - one, known)
    progress("bandwidth", -1.0)
    small, large = (probes.stream(elements) for elements in STREAMS)
    bus = large.bytes["dram"] / (large.cycles["bus"] / clock_hz)
    yield _row("bandwidth", bus, known)
    seconds = (large.critical_cycles - small.critical_cycles) / clock_hz
    moved = large.bytes["dram"] - small.bytes["dram"]
    yield _row("bandwidth sustained", moved / seconds, known)
    shuffle = probes.transposition(STREAMS[-1])
    # Each byte is written to SRAM once and read from it once.
    through = shuffle.bytes["sram"] / 2 / (shuffle.cycles["vector"] / clock_hz)
    yield _row("SRAM bandwidth", through, known)
    dram_joules = large.joules["dram"] / large.bytes["dram"]
    yield _row("energy per byte of DRAM", dram_joules, known)
    yield _row("energy per byte of SRAM", large.joules["sram"] / large.bytes["sram"], known)
    peaks: dict[str, tuple[float, float]] = {}
    for name in (n.removeprefix("peak ") for n in known if n.startswith("peak ")):
        progress(f"peak of {name}", -1.0)
        costs = _products(probes, name)
        peak = max(2 * macs / (cost.cycles["array"] / clock_hz) for macs, cost in costs)
        yield _row(f"peak {name}", peak, known)
        sustained = max(2 * macs / (cost.critical_cycles / clock_hz) for macs, cost in costs)
        yield _row(f"sustained {name}", sustained, known, "OP/s")
        macs, cost = costs[-1]
        peaks[name] = peak, cost.joules["array"] / macs
        yield _row(f"energy per MAC {name}", peaks[name][1], known)
    static = large.joules["static"] / (large.critical_cycles / clock_hz)
    busiest = max(peak / 2 * joules for peak, joules in peaks.values())
    yield _row("power peak", static + busiest + bus * dram_joules, known)
    joules, spent = (
        after - before for after, before in zip(probes.idle(), idle_before, strict=True)
    )
    yield _row("power idle", joules / spent, known)


def _products(probes: Probes, arithmetic: str) -> list[tuple[int, Cost]]:
    """MACs and costs of square products, as large as the card's memory takes."""
    found = []
    for side in SIDES:
        try:
            found.append((side**3, probes.product(arithmetic, side)))
        except Exhausted:
            if not found:
                raise
            break
    return found


def _row(quantity: str, measured: float, known: Mapping[str, Figure], unit: str = "") -> Row:
    figure = known.get(quantity)
    if figure is None:
        return Row(quantity, measured, 0.0, False, unit, None, None, "", False)
    expected = figure.published or figure.value
    tolerance = POWER_TOLERANCE if figure.unit == "W" else TOLERANCE
    error = measured / expected - 1 if expected else measured
    return Row(
        quantity,
        measured,
        expected,
        bool(figure.published),
        figure.unit,
        round(100 * error, 3),
        abs(error) <= tolerance,
        figure.source,
        figure.unverified,
    )
