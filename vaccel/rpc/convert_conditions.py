"""Conditions to messages and back. What a worker says of its cells is bounded like all it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from vaccel import bounds
from vaccel.inventory import Condition
from vaccel.v1 import admin_pb2 as pb

_LEVELS = ("ok", "warning", "fault")


def to_conditions(conditions: Sequence[Condition]) -> list[pb.Condition]:
    """Conditions as they travel; those past bounds.CONDITIONS stay behind."""
    return [
        pb.Condition(name=c.name, value=c.value, unit=c.unit, note=c.note, level=c.level)
        for c in conditions[: bounds.CONDITIONS]
    ]


def conditions_of(messages: Iterable[pb.Condition]) -> tuple[Condition, ...]:
    """Conditions, cut to bounds; a level that is none counts as a warning."""
    return tuple(
        Condition(
            message.name[: bounds.NAME_BYTES],
            message.value,
            message.unit[: bounds.NAME_BYTES],
            message.note[: bounds.HINT_BYTES],
            message.level if message.level in _LEVELS else "warning",
        )
        for message in islice(messages, bounds.CONDITIONS)
    )
