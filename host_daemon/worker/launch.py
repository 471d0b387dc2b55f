"""One launch: arguments checked against the signature, results put where they were asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from host_daemon.compiler.program import CompiledProgram
from host_daemon.worker.memory import Buffer, Buffers, Bytes, check_range
from vaccel import bounds
from vaccel.commands import Launch, Result
from vaccel.errors import Exhausted, InvalidArgument, Unsupported
from vaccel.model import Array, BufferRange, DType, Port, Shape, Strings, Tensor, Value


@dataclass(frozen=True, slots=True)
class Bound:
    """A launch whose arguments were found. ``buffers`` stay pinned until it ends."""

    inputs: Mapping[str, Array]
    results: tuple[Result, ...]
    buffers: Mapping[int, Buffer]


def bind(program: CompiledProgram, launch: Launch, buffers: Buffers) -> Bound:
    """Check a launch and find its memory.

    Raises InvalidArgument with expected and given side by side, NotFound for a missing buffer.
    """
    check_names(program, launch.arguments)
    by_name = {port.name: port for port in program.inputs}
    used: dict[int, Buffer] = {}
    inputs: dict[str, Array] = {}
    for name, value in launch.arguments.items():
        _check_value(by_name[name], value)
        if isinstance(value, Tensor) and value.place is not None:
            buffer = buffers.find(value.place.buffer)
            used[buffer.number] = buffer
        inputs[name] = array_of(name, value, buffers)
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


def array_of(name: str, value: Value, buffers: Buffers) -> Array:
    """A value as an array: a view of device memory where it is there, aligned and plain."""
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
    if raw.ctypes.data % value.dtype.itemsize:
        raw = raw.copy()
    return raw.view(value.dtype.numpy).reshape(value.shape)


def _check_value(port: Port, value: Value) -> None:
    if isinstance(value, Strings):
        check_shape(port, DType.STRING, value.shape)
        if math.prod(value.shape) != len(value.items):
            raise InvalidArgument(
                f"input {port.name!r}: {len(value.items)} strings for shape {list(value.shape)}"
            )
    else:
        check_shape(port, value.dtype, value.shape)


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
        if port.dtype is DType.STRING and result.place is not None:
            raise Unsupported(
                f"output {result.name!r}: strings have no place in device memory",
                hint="ask for it without a place",
            )
    if len(set(names)) != len(names):
        raise InvalidArgument(f"results: an output is asked for twice: {names[:32]}")


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a launch gave, sorted by where it goes: values to send, and bytes for new buffers."""

    values: Mapping[str, Value]
    fresh: Mapping[str, tuple[Tensor, Bytes]]
    inline_bytes: int


def harvest(bound: Bound, arrays: Mapping[str, Array]) -> Harvest:
    """Put results into their places; small ones travel themselves, others await new buffers.

    Raises InvalidArgument naming an output that its place is too small for.
    """
    values: dict[str, Value] = {}
    fresh: dict[str, tuple[Tensor, Bytes]] = {}
    inline = 0
    for result in bound.results:
        array = arrays[result.name]
        if array.dtype.hasobject:
            strings = _strings(result.name, array)
            inline += sum(len(item.encode()) + 8 for item in strings.items)
            if inline > bounds.INLINE_BYTES:
                raise Exhausted(
                    f"output {result.name!r}: strings of {inline} bytes, at most"
                    f" {bounds.INLINE_BYTES} travel"
                )
            values[result.name] = strings
            continue
        tensor = _tensor(result.name, array)
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if result.place is not None:
            values[result.name] = _put(result.name, tensor, raw, result.place, bound)
        elif inline + raw.nbytes <= bounds.INLINE_BYTES:
            inline += raw.nbytes
            values[result.name] = Tensor(tensor.dtype, tensor.shape, data=raw.tobytes())
        else:
            fresh[result.name] = (tensor, raw.copy())
    return Harvest(values, fresh, inline)


def _put(name: str, tensor: Tensor, raw: Bytes, place: BufferRange, bound: Bound) -> Tensor:
    buffer = bound.buffers[place.buffer]
    what = f"output {name!r}, {tensor.dtype.value}{list(tensor.shape)}"
    check_range(buffer, place.offset, raw.nbytes, what)
    buffer.array[place.offset : place.offset + raw.nbytes] = raw
    return Tensor(tensor.dtype, tensor.shape, place=place)


def _tensor(name: str, array: Array) -> Tensor:
    try:
        dtype = DType(array.dtype.name)
    except ValueError:
        raise Unsupported(f"output {name!r} is of type {array.dtype.name}") from None
    return Tensor(dtype, tuple(array.shape))


def _strings(name: str, array: Array) -> Strings:
    items = array.ravel().tolist()
    if len(items) > bounds.STRINGS_PER_VALUE:
        raise Exhausted(
            f"output {name!r}: {len(items)} strings, at most {bounds.STRINGS_PER_VALUE} travel"
        )
    return Strings(tuple(array.shape), tuple(str(item) for item in items))
