"""What a benchmark takes of all that it could measure: what has a text in its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from vaccel.errors import NotFound

T = TypeVar("T")
# As many names as a hint has room for.
_SHOWN = 12


def chosen(what: str, all_of_them: Iterable[T], only: str, name: Callable[[T], str]) -> list[T]:
    """Those with ``only`` in their name, in order.

    Raises NotFound where there is none: a benchmark that measures nothing has not passed.
    """
    known = list(all_of_them)
    found = [each for each in known if only in name(each)]
    if not found:
        shown = ", ".join(map(name, known[:_SHOWN]))
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise NotFound(f"no {what} has {only!r} in its name", hint=f"there are: {shown}{more}")
    return found
