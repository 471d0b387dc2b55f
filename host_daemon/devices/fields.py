"""Reading a card file: every key is asked for by name, and what nobody asked for is refused.

A value of a card is an inline table, ``clock = { value = "1 GHz", source = "design" }``: the
source is a key of the file's ``[sources]``; ``unverified = true`` marks what the source itself
calls so, and is shown with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaccel import units
from vaccel.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a value of a card comes from, in words. ``text`` is the value as the file has it."""

    field: str
    text: str
    source: str
    unverified: bool = False
    note: str = ""


@dataclass(slots=True)
class Section:
    """A table of a card file, with what was read from it so far."""

    table: Mapping[str, Any]
    where: str
    path: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    provenance: list[Provenance] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def name(self, key: str) -> str:
        """A key as messages name it, with its table and its file."""
        return f"{self.path}.{key} in {self.where}" if self.path else f"{key} in {self.where}"

    def _take(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        self._known.add(key)
        if key not in self.table:
            if default is not None:
                return default
            raise InvalidArgument(f"{self.name(key)} is missing", hint=f"add {key}, {what}")
        value = self.table[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidArgument(f"{self.name(key)} = {value!r} is not {what}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        return str(self._take(key, str, "a text", default))

    def flag(self, key: str) -> bool:
        """A boolean, false where it is missing."""
        self._known.add(key)
        return bool(self._take(key, bool, "true or false") if key in self.table else False)

    def names(self, key: str) -> frozenset[str]:
        """An array of texts."""
        values = self._take(key, list, "an array of texts")
        for value in values:
            if not isinstance(value, str):
                raise InvalidArgument(f"{self.name(key)} has {value!r}, which is not a text")
        return frozenset(values)

    def section(self, key: str) -> Section:
        """A table within this one."""
        return self._below(self._take(key, dict, "a table"), key)

    def sections(self, key: str) -> list[Section]:
        """An array of tables; never empty."""
        tables = self._take(key, list, "an array of tables")
        if not tables or not all(isinstance(table, dict) for table in tables):
            raise InvalidArgument(f"{self.name(key)} is not an array of at least one table")
        return [self._below(table, f"{key}[{index}]") for index, table in enumerate(tables)]

    def _below(self, table: Mapping[str, Any], key: str) -> Section:
        path = f"{self.path}.{key}" if self.path else key
        return Section(table, self.where, path, self.sources, self.provenance)

    def _value(self, key: str) -> Any:
        cell = self.section(key)
        if "value" not in cell.table:
            raise InvalidArgument(f"{cell.name('value')} is missing")
        value = cell.table["value"]
        cell._known.add("value")
        source = cell.text("source")
        if source not in self.sources:
            known = ", ".join(self.sources) or "none"
            raise InvalidArgument(
                f"{cell.name('source')} = {source!r} is not in [sources]", hint=f"there: {known}"
            )
        note, unverified = cell.text("note", ""), cell.flag("unverified")
        text = self.sources[source]
        self.provenance.append(Provenance(cell.path, str(value), text, unverified, note))
        cell.finish()
        return value

    def has(self, key: str) -> bool:
        """Whether an optional key is there."""
        return key in self.table

    def quantity(self, key: str, dimension: units.Dimension, *, zero: bool = False) -> float:
        """A sourced quantity in its base unit; positive, or not negative where ``zero``."""
        value = self._value(key)
        number = units.parse(value, dimension, self.name(key))
        if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
            raise InvalidArgument(f"{self.name(key)} = {value!r} is not positive")
        return number

    def whole(self, key: str, dimension: units.Dimension, *, zero: bool = False) -> int:
        """A sourced quantity that is whole in its base unit, such as bytes."""
        number = self.quantity(key, dimension, zero=zero)
        if number != int(number):
            raise InvalidArgument(
                f"{self.name(key)} is {number} {dimension.base}, not a whole number"
            )
        return int(number)

    def count(self, key: str, *, least: int = 1, most: int = 1 << 16) -> int:
        """A sourced number of things: a plain integer."""
        value = self._value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidArgument(
                f"{self.name(key)} = {value!r} is not an integer from {least} to {most}"
            )
        return value

    def number(self, key: str) -> float:
        """A sourced number without a unit, positive."""
        value = self._value(key)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not 0 < value < math.inf:
            raise InvalidArgument(f"{self.name(key)} = {value!r} is not a positive number")
        return float(value)

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """One of the texts allowed."""
        value = self.text(key)
        if value not in allowed:
            raise InvalidArgument(
                f"{self.name(key)} = {value!r} is unknown", hint=f"one of {', '.join(allowed)}"
            )
        return value

    def finish(self) -> None:
        """Refuse, by name, the keys that nobody asked for."""
        unknown = sorted(set(self.table) - self._known)
        if unknown:
            known = ", ".join(sorted(self._known))
            raise InvalidArgument(
                f"{self.name(unknown[0])} is an unknown key", hint=f"known: {known}"
            )


def open_card(table: Mapping[str, Any], where: str) -> Section:
    """The root of a card file, its ``[sources]`` read already."""
    root = Section(table, where)
    sources = root.section("sources")
    root.sources = {key: sources.text(key) for key in sources.table}
    sources.finish()
    return root
