"""A device's state as bytes: what moves with a VF beside its memory, checked when it comes back.

Format, little-endian::

    offset  size  what
    0       8     magic, VACCELDS
    8       4     version, 1
    12      4     length of the header
    16      8     length of the body
    24      ...   header: a JSON object, {kind, card, profile, cores, memory_bytes}
    ...     ...   body: the kind's own, empty where its answers depend on no history
    end-32  32    SHA-256 of all before

A state is taken by the same kind, card and profile only; anything else is refused, naming the field
and both values. What it holds is hostile like any file: lengths are bounded before they are used.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Final

from host_daemon.core.device import Card, NodeCost, Operation
from vaccel import bounds
from vaccel.errors import InvalidArgument
from vaccel.model import Array, Profile

MAGIC: Final = b"VACCELDS"
VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sIIQ")
_DIGEST: Final = hashlib.sha256().digest_size


def _identity(card: Card, profile: Profile) -> dict[str, str | int]:
    return {
        "kind": card.kind,
        "card": card.name,
        "profile": profile.name,
        "cores": profile.cores,
        "memory_bytes": profile.memory_bytes,
    }


def pack(card: Card, profile: Profile, body: bytes = b"") -> bytes:
    """The state of a device of this card and profile."""
    header = json.dumps(_identity(card, profile)).encode()
    content = _HEAD.pack(MAGIC, VERSION, len(header), len(body)) + header + body
    return content + hashlib.sha256(content).digest()


def unpack(state: bytes, card: Card, profile: Profile) -> bytes:
    """The body of a state that is this card's and this profile's.

    Raises InvalidArgument naming the field that differs, and its value.
    """
    header, body = _split(state)
    try:
        given = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"device state: its header is not JSON: {error}") from error
    expected = _identity(card, profile)
    if not isinstance(given, dict) or given.keys() != expected.keys():
        raise InvalidArgument(
            f"device state: its header is {header[:80]!r}", hint=f"fields: {', '.join(expected)}"
        )
    for field, value in expected.items():
        if given[field] != value:
            raise InvalidArgument(
                f"device state: {field} = {str(given[field])[: bounds.NAME_BYTES]!r}, but this is"
                f" {str(value)!r}",
                hint="restore it on a VF of the same card and profile",
            )
    return body


def _split(state: bytes) -> tuple[bytes, bytes]:
    """Header and body of a state whose frame is whole."""
    if len(state) > bounds.DEVICE_STATE_BYTES:
        raise InvalidArgument(
            f"device state of {len(state)} bytes: at most {bounds.DEVICE_STATE_BYTES}"
        )
    if len(state) < _HEAD.size + _DIGEST or not state.startswith(MAGIC):
        raise InvalidArgument(
            f"device state: its magic is {bytes(state[:8])!r}, not {MAGIC!r}",
            hint="this is no device state",
        )
    _, version, head, length = _HEAD.unpack_from(state)
    if version != VERSION:
        raise InvalidArgument(
            f"device state: version = {version}, known is {VERSION}",
            hint="save it again with this release",
        )
    if _HEAD.size + head + length + _DIGEST != len(state):
        raise InvalidArgument(
            f"device state: lengths {head} and {length} do not add up to {len(state)} bytes"
        )
    if hashlib.sha256(state[:-_DIGEST]).digest() != state[-_DIGEST:]:
        raise InvalidArgument("device state: its SHA-256 does not fit", hint="copy it again")
    return state[_HEAD.size : _HEAD.size + head], state[_HEAD.size + head : -_DIGEST]


class Stateless:
    """What a device does whose answers depend on their arguments only: it keeps no weights, leaves
    programs of several nodes to the common kernels, and its state is empty.
    """

    def __init__(self, card: Card, profile: Profile) -> None:
        self.card = card
        self.profile = profile

    def save(self) -> bytes:
        """Whose state it is, and an empty body."""
        return pack(self.card, self.profile)

    def restore(self, state: bytes) -> None:
        """Check a state. Raises InvalidArgument where it is another device's."""
        body = unpack(state, self.card, self.profile)
        if body:
            raise InvalidArgument(
                f"device state: a body of {len(body)} bytes, but {self.card.kind} has none"
            )

    def computes(self, operation: Operation) -> bool:
        """No: programs of several nodes run on the common kernels."""
        return False

    def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
        """Weights lie in its memory, as all else."""
        return None

    def drop(self, resident: str) -> None:
        """Nothing is kept."""
