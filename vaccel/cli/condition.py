"""Conditions as lines of a table: ``worst wear  0.8 %``, and what is wrong said first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from vaccel.cli.sizes import age_text

if TYPE_CHECKING:
    from vaccel.inventory import Condition


def conditions(found: Iterable[Condition]) -> Iterator[tuple[str, str]]:
    """Name and text of each; a level that is not ok is named before the note."""
    for each in found:
        level = "" if each.level == "ok" else each.level
        said = "; ".join(part for part in (level, each.note) if part)
        if each.name == "health":
            yield each.name, said or "good"
            continue
        yield each.name, _value(each) + (f" ({said})" if said else "")


def _value(condition: Condition) -> str:
    if condition.unit == "s":
        return age_text(condition.value)
    if condition.unit == "1":
        return f"{condition.value * 100:.4g} %"
    number = f"{condition.value:.0f}" if condition.value.is_integer() else f"{condition.value:.4g}"
    return f"{number} {condition.unit}".strip()
