"""More rows than go at once: inputs cut along the batch, outputs put together again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaccel import given
from vaccel.binding import signature_text
from vaccel.errors import InvalidArgument
from vaccel.model import BufferRange, Cost, Port, Strings, Tensor, Value


def symbol_of(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """The symbol of the batch: what the first input and every output begin with.

    Raises InvalidArgument with the signature where there is none.
    """
    first = _leading(inputs[0]) if inputs else None
    if not isinstance(first, str) or any(_leading(port) != first for port in outputs):
        raise InvalidArgument(
            f"({signature_text(inputs)}) -> ({signature_text(outputs)}) has no batch: the first"
            " input and every output must begin with one symbol",
            hint="call it with one batch at a time, for example by map()",
        )
    return first


def _leading(port: Port) -> int | str | None:
    return port.shape[0] if port.shape and not port.containers else None


def cut(
    inputs: Sequence[Port], values: Mapping[str, Value], symbol: str, rows: int
) -> list[dict[str, Value]]:
    """Values in parts of at most ``rows`` rows. Raises InvalidArgument where rows is less than 1.

    ``values`` have been checked: those that begin with the symbol have as many rows.
    """
    given.count("rows", rows, 1)
    batched = {port.name for port in inputs if _leading(port) == symbol} & values.keys()
    total = max((_rows(values[name]) for name in batched), default=0)
    return [
        {
            name: _part(value, start, min(start + rows, total)) if name in batched else value
            for name, value in values.items()
        }
        for start in range(0, total, rows) or (0,)
    ]


def _rows(value: Value) -> int:
    return value.shape[0] if isinstance(value, Tensor | Strings) else 0


def _part(value: Value, start: int, stop: int) -> Value:
    if isinstance(value, Strings):
        row = math.prod(value.shape[1:])
        shape = (stop - start, *value.shape[1:])
        return Strings(shape, value.items[start * row : stop * row])
    if not isinstance(value, Tensor):
        return value
    row = math.prod(value.shape[1:]) * value.dtype.itemsize
    shape = (stop - start, *value.shape[1:])
    if value.place is not None:
        place = BufferRange(value.place.buffer, value.place.offset + start * row)
        return Tensor(value.dtype, shape, place=place)
    data = memoryview(value.data or b"")[start * row : stop * row]
    return Tensor(value.dtype, shape, data=data)


def join(parts: Sequence[Any]) -> tuple[dict[str, Any], Cost]:
    """Outputs of all parts, and the sum of their costs, from the first start to the last end."""
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    costs = [part.cost for part in parts]
    return arrays, Cost(
        cycles=_sum([cost.cycles for cost in costs]),
        bytes=_sum([cost.bytes for cost in costs]),
        joules=_sum([cost.joules for cost in costs]),
        nodes=_sum([cost.nodes for cost in costs]),
        critical_cycles=sum(cost.critical_cycles for cost in costs),
        start_ns=costs[0].start_ns,
        end_ns=costs[-1].end_ns,
    )


def _sum(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            total[name] = total.get(name, 0) + value
    return total
