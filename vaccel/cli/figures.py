"""A card's power and arithmetic for ``pf show``; what its source calls unverified is marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from vaccel.cli.sizes import rate_text

if TYPE_CHECKING:
    from vaccel.inventory import Figure

MARK: Final = "unverified"
_PREFIXES: Final = ("", "m", "u", "n", "p", "f")


def value_text(value: float, unit: str) -> str:
    """A value with its unit: ``512 TOP/s``, ``180 W``, ``0.3 pJ``, ``5 us``."""
    if unit == "s" and value >= 1000:
        return f"{value:,.0f} s"
    if unit in ("J", "s", "ohm") and value < 1000:
        step = 0
        while value and abs(value) < 0.0995 and step < len(_PREFIXES) - 1:
            value, step = value * 1000, step + 1
        return f"{value:.3g} {_PREFIXES[step]}{unit}"
    if unit == "OP/s" and value >= 1e15:
        return f"{value / 1e15:.3g} P{unit}"
    return rate_text(value, unit)


def mark(figure: Figure) -> str:
    """``unverified`` where the figure's source calls itself so."""
    return MARK if figure.unverified else ""


def power(figures: Sequence[Figure]) -> str:
    """One line: idle, peak, what is published; "" where the card says nothing."""
    found = {each.name: each for each in figures}
    parts = []
    for name, word in (("power idle", "idle"), ("power peak", "at most")):
        if name in found:
            parts.append(f"{found[name].value:.1f} W {word}")
    peak = found.get("power peak")
    if peak is not None and peak.published:
        parts.append(f"published {peak.published:g} W" + (f" ({MARK})" if peak.unverified else ""))
    return ", ".join(parts)


def marked(text: str, figures: Sequence[Figure], name: str) -> str:
    """A text about a figure, marked where that is unverified."""
    doubtful = any(each.name == name and each.unverified for each in figures)
    return f"{text} ({MARK})" if doubtful else text


def arithmetic(figures: Sequence[Figure]) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows: name, peak rate, published peak, energy of a MAC, mark."""
    found = {each.name: each for each in figures}
    for name, peak in found.items():
        if not name.startswith("peak "):
            continue
        kind = name.removeprefix("peak ")
        joules = found.get(f"energy per MAC {kind}")
        energy = value_text(joules.value, joules.unit) if joules else "-"
        if joules is not None and joules.unverified:
            energy += f" ({MARK})"
        published = value_text(peak.published, peak.unit) if peak.published else "-"
        yield kind, value_text(peak.value, peak.unit), published, energy, mark(peak)
