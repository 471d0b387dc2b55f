"""One object among many, by its name or its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from vaccel.errors import NotFound


class Named(Protocol):
    """Whatever has a name and an id."""

    @property
    def id(self) -> str:
        """Unique across hosts."""

    @property
    def name(self) -> str:
        """Unique on this host, or ""."""


T = TypeVar("T", bound=Named)


def by_name(what: str, found: Sequence[T], name: str) -> T:
    """The one that is called that. Raises NotFound naming those there are."""
    for one in found:
        if name in (one.id, one.name):
            return one
    known = ", ".join(one.name or one.id for one in found) or "none"
    raise NotFound(f"there is no {what} {name!r}", hint=f"there are: {known}")
