"""Values to messages and back: tensors, strings, and what contains them. Caps at the edge, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vaccel import bounds, errors
from vaccel.model import BufferRange, DType, Items, Nothing, Strings, Table, Tensor, Value
from vaccel.v1 import types_pb2


def dtype_of(name: str, where: str) -> DType:
    """An element type by name. Raises InvalidArgument with those that there are."""
    try:
        return DType(name)
    except ValueError:
        known = ", ".join(d.value for d in DType)
        raise errors.InvalidArgument(
            f"{where}: unknown dtype {name[:40]!r}", hint=f"one of {known}"
        ) from None


def shape_of(dims: Any, where: str) -> tuple[int, ...]:
    """A shape whose size can be computed with. Raises InvalidArgument for any other."""
    if len(dims) > bounds.TENSOR_RANK:
        raise errors.InvalidArgument(f"{where}: rank {len(dims)} is more than {bounds.TENSOR_RANK}")
    shape = tuple(dims)
    # A zero dimension must not hide the overflow of the others.
    if math.prod(d or 1 for d in shape) > 1 << 48:
        raise errors.InvalidArgument(f"{where}: shape {list(shape)} has more than 2^48 elements")
    return shape


def range_of(message: types_pb2.BufferRange) -> BufferRange:
    """A place in device memory; the executor checks that it exists."""
    return BufferRange(message.buffer, message.offset)


def to_range(place: BufferRange) -> types_pb2.BufferRange:
    """A place in device memory."""
    return types_pb2.BufferRange(buffer=place.buffer, offset=place.offset)


def value_of(message: types_pb2.Value, where: str) -> Value:
    """Any value; inline data has exactly the bytes that dtype and shape say.

    Raises InvalidArgument past bounds.VALUE_DEPTH and bounds.ITEMS_PER_VALUE.
    """
    return _Reader(where).value(message, 0)


class _Reader:
    """Reads one value; counts the items of all its sequences."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._items = 0

    def value(self, message: types_pb2.Value, depth: int) -> Value:
        if depth > bounds.VALUE_DEPTH:
            raise errors.InvalidArgument(
                f"{self._where}: containers nest deeper than {bounds.VALUE_DEPTH}"
            )
        kind = message.WhichOneof("value")
        if kind == "tensor":
            return self._tensor(message.tensor)
        if kind == "strings":
            return self._strings(message.strings)
        if kind == "nothing":
            return Nothing()
        if kind == "items":
            self._items += len(message.items.values)
            if self._items > bounds.ITEMS_PER_VALUE:
                raise errors.InvalidArgument(
                    f"{self._where}: {self._items} items are more than {bounds.ITEMS_PER_VALUE}"
                )
            return Items(tuple(self.value(each, depth + 1) for each in message.items.values))
        if kind == "table":
            return self._table(message.table, depth)
        raise errors.InvalidArgument(f"{self._where}: holds no value that this side knows")

    def _table(self, message: types_pb2.Table, depth: int) -> Table:
        keys = self.value(message.keys, depth + 1)
        values = self.value(message.values, depth + 1)
        if not isinstance(keys, Tensor | Strings) or not isinstance(values, Tensor | Strings):
            raise errors.InvalidArgument(f"{self._where}: a map is of tensors or strings")
        if len(keys.shape) != 1 or keys.shape != values.shape:
            raise errors.InvalidArgument(
                f"{self._where}: a map with keys of shape {list(keys.shape)} and values of"
                f" {list(values.shape)}"
            )
        return Table(keys, values)

    def _strings(self, message: types_pb2.Strings) -> Strings:
        shape = shape_of(message.shape, self._where)
        count = math.prod(shape)
        if count != len(message.items) or count > bounds.STRINGS_PER_VALUE:
            raise errors.InvalidArgument(
                f"{self._where}: {len(message.items)} strings for shape {list(shape)}"
            )
        try:
            return Strings(shape, tuple(item.decode() for item in message.items))
        except UnicodeDecodeError as fault:
            raise errors.InvalidArgument(
                f"{self._where}: a string is not UTF-8: {fault}"
            ) from None

    def _tensor(self, message: types_pb2.Tensor) -> Tensor:
        dtype = dtype_of(message.dtype, self._where)
        if dtype is DType.STRING:
            raise errors.InvalidArgument(
                f"{self._where}: strings travel as Strings, not as a tensor"
            )
        shape = shape_of(message.shape, self._where)
        place = message.WhichOneof("place")
        if place == "range":
            return Tensor(dtype, shape, place=range_of(message.range))
        wanted = math.prod(shape) * dtype.itemsize
        if place == "inline" and len(message.inline) != wanted:
            raise errors.InvalidArgument(
                f"{self._where}: {len(message.inline)} bytes of data, but"
                f" {dtype.value}{list(shape)} has {wanted}"
            )
        # Without a place it has only a shape: an argument of EstimateCost.
        return Tensor(dtype, shape, data=message.inline if place == "inline" else None)


def to_value(value: Value) -> types_pb2.Value:
    """A value as it travels."""
    match value:
        case Strings():
            items = [item.encode() for item in value.items]
            return types_pb2.Value(strings=types_pb2.Strings(shape=value.shape, items=items))
        case Items():
            return types_pb2.Value(items=types_pb2.Items(values=map(to_value, value.values)))
        case Nothing():
            return types_pb2.Value(nothing=types_pb2.Nothing())
        case Table():
            table = types_pb2.Table(keys=to_value(value.keys), values=to_value(value.values))
            return types_pb2.Value(table=table)
    tensor = types_pb2.Tensor(dtype=value.dtype.value, shape=value.shape)
    if value.place is not None:
        tensor.range.CopyFrom(to_range(value.place))
    elif value.data is not None:
        tensor.inline = bytes(value.data)
    return types_pb2.Value(tensor=tensor)


def values_of(messages: Mapping[str, types_pb2.Value], what: str) -> dict[str, Value]:
    """Named values."""
    if len(messages) > bounds.ARGUMENTS_PER_LAUNCH:
        raise errors.InvalidArgument(
            f"{len(messages)} {what}s are more than {bounds.ARGUMENTS_PER_LAUNCH}"
        )
    return {name: value_of(value, f"{what} {name[:80]!r}") for name, value in messages.items()}


def to_values(values: Mapping[str, Value]) -> dict[str, types_pb2.Value]:
    """Named values as they travel."""
    return {name: to_value(value) for name, value in values.items()}
