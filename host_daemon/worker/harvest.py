"""What a launch gave, on its way out: into places, into the completion, or into new buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from host_daemon.worker.launch import Bound
from host_daemon.worker.memory import Buffer, Bytes, check_range
from vaccel import bounds
from vaccel.errors import Exhausted, Unsupported
from vaccel.model import (
    Array,
    BufferRange,
    DType,
    Items,
    Nothing,
    Strings,
    Table,
    Tensor,
    Value,
)


@dataclass(frozen=True, slots=True)
class Harvest:
    """Values by output. ``fresh`` are bytes that await new buffers: the tensors among the values
    that are at ``BufferRange(-1 - index)``. ``own_bytes`` are what the values carry themselves.
    """

    values: Mapping[str, Value]
    fresh: tuple[Bytes, ...]
    own_bytes: int


def harvest(bound: Bound, results: Mapping[str, Any], *, lent: bool = False) -> Harvest:
    """Put results into their places; small ones travel themselves, others await new buffers.

    ``lent``: values may carry tensors of any size, in the kernels' own memory, for who only reads
    them and soon; never in device memory, which the next command may change. Those must get no
    buffer: it could be written to by its number, and be a constant of the program.

    Raises InvalidArgument naming an output that its place is too small for, Exhausted where
    strings or items are more than travel.
    """
    gathering = _Gathering(list(bound.buffers.values()) if lent else None)
    values: dict[str, Value] = {}
    for result in bound.results:
        given = results[result.name]
        if result.place is not None:
            values[result.name] = _put(result.name, given, result.place, bound)
        else:
            values[result.name] = gathering.value(result.name, given)
    return Harvest(values, tuple(gathering.fresh), gathering.inline + gathering.lent)


def placed(value: Value, buffers: list[int]) -> Value:
    """A value whose tensors that await buffers have got them, by index."""
    match value:
        case Items(values=values):
            return Items(tuple(placed(each, buffers) for each in values))
        case Tensor(place=BufferRange(buffer=number)) if number < 0:
            return Tensor(value.dtype, value.shape, place=BufferRange(buffers[-1 - number]))
    return value


class _Gathering:
    def __init__(self, lent_beside: list[Buffer] | None) -> None:
        # What results are not lent from; None where none are lent.
        self._beside = lent_beside
        self.fresh: list[Bytes] = []
        self.inline = self.lent = 0
        self._items = 0

    def value(self, name: str, given: Any) -> Value:
        if given is None:
            return Nothing()
        if isinstance(given, list):
            self._beside = None  # what a list holds stays, in buffers of its own
            self._items += len(given)
            if self._items > bounds.ITEMS_PER_VALUE:
                raise Exhausted(
                    f"output {name!r}: {self._items} items, at most {bounds.ITEMS_PER_VALUE} travel"
                )
            return Items(tuple(self.value(name, each) for each in given))
        if isinstance(given, dict):
            keys, values = (_column(each) for each in (given.keys(), given.values()))
            return Table(self._tensor(name, keys, True), self._tensor(name, values, True))
        return self._tensor(name, np.asarray(given), False)

    def _tensor(self, name: str, array: Array, stays: bool) -> Tensor | Strings:
        if array.dtype.hasobject:
            strings = _strings(name, array)
            self.inline += sum(len(item.encode()) + 8 for item in strings.items)
            self._check(name, "strings")
            return strings
        tensor = _typed(name, array)
        raw = _bytes(array)
        if stays or self.inline + raw.nbytes <= bounds.INLINE_BYTES:
            self.inline += raw.nbytes
            self._check(name, "keys and values")
        elif self._beside is not None:
            self.lent += raw.nbytes
        else:
            self.fresh.append(raw.copy())
            return Tensor(tensor.dtype, tensor.shape, place=BufferRange(-len(self.fresh)))
        data = raw.data if self._is_lent(raw) else raw.tobytes()
        return Tensor(tensor.dtype, tensor.shape, data=data)

    def _is_lent(self, raw: Bytes) -> bool:
        beside = self._beside
        return beside is not None and not any(
            np.may_share_memory(raw, buffer.array) for buffer in beside
        )

    def _check(self, name: str, what: str) -> None:
        if self.inline > bounds.INLINE_BYTES:
            raise Exhausted(
                f"output {name!r}: {what} of {self.inline} bytes, at most"
                f" {bounds.INLINE_BYTES} travel"
            )


def _put(name: str, given: Any, place: BufferRange, bound: Bound) -> Tensor:
    array = np.asarray(given)
    tensor, raw = _typed(name, array), _bytes(array)
    buffer = bound.buffers[place.buffer]
    what = f"output {name!r}, {tensor.dtype.value}{list(tensor.shape)}"
    check_range(buffer, place.offset, raw.nbytes, what)
    buffer.array[place.offset : place.offset + raw.nbytes] = raw
    return Tensor(tensor.dtype, tensor.shape, place=place)


def _bytes(array: Array) -> Bytes:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _typed(name: str, array: Array) -> Tensor:
    try:
        dtype = DType(array.dtype.name)
    except ValueError:
        raise Unsupported(f"output {name!r} is of type {array.dtype.name}") from None
    return Tensor(dtype, tuple(array.shape))


def _column(entries: Any) -> Array:
    """Keys or values of a map: int64, float32 or strings, as ONNX has them."""
    items = list(entries)
    if any(isinstance(item, str) for item in items):
        return np.array(items, dtype=object)
    kind = np.float32 if any(isinstance(item, float) for item in items) else np.int64
    return np.asarray(items, dtype=kind)


def _strings(name: str, array: Array) -> Strings:
    items = array.ravel().tolist()
    if len(items) > bounds.STRINGS_PER_VALUE:
        raise Exhausted(
            f"output {name!r}: {len(items)} strings, at most {bounds.STRINGS_PER_VALUE} travel"
        )
    return Strings(tuple(array.shape), tuple(str(item) for item in items))
