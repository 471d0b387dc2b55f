"""Identifiers that are unique across hosts and sort by time.

``vf-01jd4v7q3e8m2k5n9p0r6s1t4w``: a short prefix for the noun, 48 bits of Unix milliseconds and 80
random bits in Crockford's base 32 (the layout of ULID, https://github.com/ulid/spec).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID: Final = re.compile(r"[a-z]{2,4}-[0-9a-hjkmnp-tv-z]{26}")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def new_id(prefix: str, unix_ms: int, random: Callable[[int], bytes]) -> str:
    """A new id of a noun; ``random(n)`` returns n random bytes."""
    number = (unix_ms & ((1 << 48) - 1)) << 80 | int.from_bytes(random(10), "big")
    return f"{prefix}-" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether the text has the form of an id, of any noun."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether the text may name an object: as a DNS label, with dots and underscores."""
    return _NAME.fullmatch(text) is not None and not is_id(text)
