"""One launch: arguments checked against the signature, and found in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from host_daemon.compiler.program import CompiledProgram
from host_daemon.worker.memory import Buffer, Buffers, check_range
from vaccel import bounds
from vaccel.binding import check_symbols
from vaccel.commands import Launch, Result
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import (
    MAP,
    OPTIONAL,
    SEQUENCE,
    Array,
    DType,
    Items,
    Nothing,
    Port,
    Shape,
    Strings,
    Table,
    Tensor,
    Value,
    leaves,
)

# Types of which some bit patterns mean nothing: those bits are cleared, as kernels trust them.
_LOW_BITS = {2: 0x03, 4: 0x0F, 6: 0x3F}


@dataclass(frozen=True, slots=True)
class Bound:
    """A launch whose arguments were found. ``buffers`` stay pinned until it ends."""

    inputs: Mapping[str, Any]
    results: tuple[Result, ...]
    buffers: Mapping[int, Buffer]


def bind(program: CompiledProgram, launch: Launch, buffers: Buffers) -> Bound:
    """Check a launch and find its memory.

    Raises InvalidArgument with expected and given side by side, NotFound for a missing buffer.
    """
    check_names(program, launch.arguments)
    by_name = {port.name: port for port in program.inputs}
    used: dict[int, Buffer] = {}
    inputs: dict[str, Any] = {}
    for name, value in launch.arguments.items():
        check_value(by_name[name], value)
        for leaf in leaves(value):
            if isinstance(leaf, Tensor) and leaf.place is not None:
                buffer = buffers.find(leaf.place.buffer)
                used[buffer.number] = buffer
        inputs[name] = object_of(name, value, buffers)
    # What a program leaves unguarded is proven by symbols, too.
    check_symbols(by_name, launch.arguments)
    results = launch.results or tuple(Result(port.name) for port in program.outputs)
    _check_results(program, results)
    for result in results:
        if result.place is not None:
            buffer = buffers.find(result.place.buffer)
            check_range(buffer, result.place.offset, 0, f"output {result.name!r}")
            used[buffer.number] = buffer
    return Bound(inputs, results, used)


def check_names(program: CompiledProgram, given: Mapping[str, object]) -> None:
    """Raise InvalidArgument unless exactly the program's inputs are there."""
    missing = [p.name for p in program.inputs if not p.optional and p.name not in given]
    expected = {port.name for port in program.inputs}
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        listed = ", ".join(repr(n[: bounds.NAME_BYTES]) for n in list(given)[:32]) or "none"
        raise InvalidArgument(
            "inputs: expected " + "; ".join(str(p) for p in program.inputs) + f", given {listed}"
        )


def check_value(port: Port, value: Value) -> None:
    """Raise InvalidArgument, expected and given side by side, where a value does not fit a port."""
    outermost = port.containers[0] if port.containers else ""
    match value:
        case Nothing() if outermost == OPTIONAL:
            return
        case _ if outermost == OPTIONAL:
            check_value(port.inner, value)
        case Items(values=values) if outermost == SEQUENCE:
            for each in values:
                check_value(port.inner, each)
        case Table(keys=keys, values=values) if outermost.startswith(MAP):
            check_value(Port(port.name, DType(outermost.removeprefix(MAP)), (None,)), keys)
            check_value(Port(port.name, port.dtype, (None,)), values)
        case Tensor() if not outermost:
            check_shape(port, value.dtype, value.shape)
        case Strings() if not outermost:
            check_shape(port, DType.STRING, value.shape)
            if math.prod(value.shape) != len(value.items):
                raise InvalidArgument(
                    f"input {port.name!r}: {len(value.items)} strings for shape"
                    f" {list(value.shape)}"
                )
        case _:
            raise InvalidArgument(
                f"input {port.name!r}: expected {str(port).partition(': ')[2]}, given"
                f" {type(value).__name__.lower()}"
            )


def check_shape(port: Port, dtype: DType, shape: Shape) -> None:
    """Raise InvalidArgument, expected and given side by side, where a value does not fit a port."""
    fits = dtype is port.dtype and all(0 <= dim < 1 << 63 for dim in shape)
    if fits and port.shape is not None:
        fits = len(shape) == len(port.shape) and all(
            not isinstance(expected, int) or expected == dim
            for expected, dim in zip(port.shape, shape, strict=True)
        )
    if not fits:
        given = ", ".join(str(dim) for dim in shape[: bounds.TENSOR_RANK + 1])
        raise InvalidArgument(
            f"input {port.name!r}: expected {str(port).partition(': ')[2]}, given"
            f" {dtype.value}[{given}]"
        )


def object_of(name: str, value: Value, buffers: Buffers) -> Any:
    """A value as kernels take it: an array, a list, a dict, or None."""
    match value:
        case Items(values=values):
            return [object_of(name, each, buffers) for each in values]
        case Table(keys=keys, values=values):
            pairs = (array_of(name, each, buffers).tolist() for each in (keys, values))
            return dict(zip(*pairs, strict=True))
        case Nothing():
            return None
    return array_of(name, value, buffers)


def array_of(name: str, value: Tensor | Strings, buffers: Buffers) -> Array:
    """A tensor as an array: a view of device memory where it is there, aligned and plain."""
    if isinstance(value, Strings):
        return np.array(value.items, dtype=object).reshape(value.shape)
    if value.place is not None:
        raw = buffers.view(value.place, value.nbytes, f"input {name!r}")
    elif value.data is not None:
        if len(value.data) != value.nbytes:
            raise InvalidArgument(
                f"input {name!r}: {value.nbytes} bytes of data expected, {len(value.data)} given"
            )
        raw = np.frombuffer(value.data, np.uint8)
    else:
        raise InvalidArgument(f"input {name!r} has neither data nor a place in device memory")
    if value.dtype is DType.BOOL:
        # Kernels take a bool for 0 or 1; a guest's byte may be anything.
        return np.not_equal(raw, 0).reshape(value.shape)
    if value.dtype.bits in _LOW_BITS:
        raw = raw & np.uint8(_LOW_BITS[value.dtype.bits])
    elif raw.ctypes.data % value.dtype.itemsize:
        raw = raw.copy()
    return raw.view(value.dtype.numpy).reshape(value.shape)


def _check_results(program: CompiledProgram, results: Sequence[Result]) -> None:
    by_name = {port.name: port for port in program.outputs}
    names = [result.name for result in results]
    for result in results:
        port = by_name.get(result.name)
        if port is None:
            raise InvalidArgument(
                f"results: no output {result.name[: bounds.NAME_BYTES]!r}",
                hint="outputs: " + "; ".join(str(p) for p in program.outputs),
            )
        if result.place is not None and (port.dtype is DType.STRING or port.containers):
            raise Unsupported(
                f"output {str(port)[: bounds.NAME_BYTES]} has no place in device memory",
                hint="ask for it without a place",
            )
    if len(set(names)) != len(names):
        raise InvalidArgument(f"results: an output is asked for twice: {names[:32]}")
