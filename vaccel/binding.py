"""Arrays to values and back, checked against a program's signature before any trip is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from vaccel.errors import InvalidArgument
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
)

# Inputs, and letters of a name, that an error shows.
_SHOWN: Final = 32


def signature_text(ports: Sequence[Port]) -> str:
    """Ports as a person reads them."""
    return ", ".join(map(str, ports)) or "nothing"


def check(port: Port, dtype: DType, shape: Shape) -> None:
    """Raises InvalidArgument that shows expected and given side by side."""
    given = f"{dtype.value}{list(shape)}"
    if dtype is not port.dtype:
        raise InvalidArgument(
            f"input {port.name!r}: expected {port}, given {given}:"
            f" dtype must be {port.dtype.value}",
            hint=f"convert it, for example with .astype('{port.dtype.value}')",
        )
    if port.shape is None:
        return
    if len(port.shape) != len(shape):
        raise InvalidArgument(
            f"input {port.name!r}: expected {port}, of rank {len(port.shape)},"
            f" given {given}, of rank {len(shape)}",
            hint="add or drop an axis, for example with array[None] or array[0]",
        )
    for axis, (want, have) in enumerate(zip(port.shape, shape, strict=True)):
        if isinstance(want, int) and want != have:
            raise InvalidArgument(
                f"input {port.name!r}: expected {port}, given {given}:"
                f" axis {axis} must be {want}, not {have}",
                hint=f"give an array with {want} along axis {axis}",
            )


def bind(
    ports: Sequence[Port], positional: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Value]:
    """Values by input name. Raises InvalidArgument naming the input, with the whole signature."""
    if len(positional) > len(ports):
        raise InvalidArgument(
            f"{len(positional)} inputs given, but the program takes {signature_text(ports)}",
            hint=f"give {len(ports)} at most, in this order",
        )
    given = dict(zip((port.name for port in ports), positional, strict=False))
    if twice := sorted(set(given) & set(named)):
        raise InvalidArgument(
            f"input {twice[0]!r} is given by position and by name", hint="give it once"
        )
    given.update(named)
    if wrong := [name for name in given if not isinstance(name, str)]:
        raise InvalidArgument(
            f"input name {wrong[0]!r} is a {type(wrong[0]).__name__}",
            hint=f"names are texts: the program takes {signature_text(ports)}",
        )
    known = {port.name: port for port in ports}
    if unknown := sorted(set(given) - set(known)):
        raise InvalidArgument(
            f"no input is called {unknown[0]!r}: the program takes {signature_text(ports)},"
            f" given {_given_text(given)}",
            hint="use one of these names, or give the arrays by position",
        )
    missing = [p.name for p in ports if p.name not in given and not p.optional]
    if missing:
        raise InvalidArgument(
            f"input {missing[0]!r} is missing: the program takes {signature_text(ports)},"
            f" given {_given_text(given)}",
            hint=f"give an array for {missing[0]!r}",
        )
    values = {name: to_value(known[name], array) for name, array in given.items()}
    check_symbols(known, values)
    return values


def _given_text(given: Mapping[str, Any]) -> str:
    """What was given, as a person reads it."""
    parts = []
    for name, value in list(given.items())[:_SHOWN]:
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        text = type(value).__name__ if shape is None else f"{dtype or 'string'}{list(shape)}"
        parts.append(f"{name[:_SHOWN]}: {text}")
    return ", ".join(parts) or "nothing"


def check_symbols(ports: Mapping[str, Port], values: Mapping[str, Value]) -> None:
    """Raise InvalidArgument where one symbol would stand for two sizes."""
    found: dict[str, tuple[int, str]] = {}
    for name, value in values.items():
        port = ports[name]
        if not isinstance(value, Tensor | Strings) or port.shape is None or port.containers:
            continue
        for axis, (symbol, size) in enumerate(zip(port.shape, value.shape, strict=True)):
            if not isinstance(symbol, str):
                continue
            before, where = found.setdefault(symbol, (size, name))
            if before != size:
                raise InvalidArgument(
                    f"input {name!r}: expected {port}, given {list(value.shape)}: axis {axis} is"
                    f" {size}, but {symbol} is {before} in input {where!r},"
                    f" {ports[where]}, given {list(_shape_of(values[where]))}",
                    hint=f"give arrays with one size for {symbol}",
                )


def _shape_of(value: Value) -> Shape:
    return value.shape if isinstance(value, Tensor | Strings) else ()


def to_value(port: Port, given: Any) -> Value:
    """A value for an input; Python numbers and lists take the input's own dtype.

    A sequence is a list or tuple, an empty optional is None, a map is a dict.
    """
    if port.containers:
        return _contained(port, given)
    if given is None or isinstance(given, Items | Nothing | Table):
        raise InvalidArgument(
            f"input {port.name!r}: expected {port}, given {type(given).__name__}",
            hint=f"give a NumPy array of {port.dtype.value}",
        )
    if isinstance(given, Tensor | Strings):
        value: Tensor | Strings = given
    elif port.dtype is DType.STRING:
        array = np.asarray(given, dtype=object)
        value = Strings(array.shape, tuple(_string(item, port) for item in array.ravel()))
    elif isinstance(given, np.ndarray | np.generic):
        value = tensor_of(np.asarray(given), port.name, port.dtype)
    else:
        value = _of_numbers(port, given)
    dtype = DType.STRING if isinstance(value, Strings) else value.dtype
    check(port, dtype, value.shape)
    return value


def _of_numbers(port: Port, given: Any) -> Tensor:
    """A tensor of Python's numbers, or lists of them, none of which becomes another number."""
    try:
        plain = np.asarray(given)
        if plain.dtype.kind in "SU":
            raise TypeError("a text is no number")
        if port.dtype.value.startswith(("int", "uint", "bool")) and plain.dtype.kind == "f":
            broken = plain[np.trunc(plain) != plain]
            if broken.size:
                raise ValueError(f"{broken[0]} is no whole number")
        return tensor_of(np.asarray(given, dtype=port.dtype.numpy), port.name)
    except (TypeError, ValueError, OverflowError) as fault:
        raise InvalidArgument(
            f"input {port.name!r}: expected {port}, given {type(given).__name__}: {fault}",
            hint=f"give a NumPy array of {port.dtype.value}",
        ) from None


def _contained(port: Port, given: Any) -> Value:
    """A value for an input that is no plain tensor. Raises InvalidArgument naming its type."""
    if isinstance(given, Items | Nothing | Table):
        return given
    outermost = port.containers[0]
    if outermost == OPTIONAL:
        return Nothing() if given is None else to_value(port.inner, given)
    if outermost == SEQUENCE and isinstance(given, list | tuple):
        return Items(tuple(to_value(port.inner, each) for each in given))
    if outermost.startswith(MAP) and isinstance(given, dict):
        key = Port(port.name, DType(outermost.removeprefix(MAP)), (None,))
        value = Port(port.name, port.dtype, (None,))
        keys, values = to_value(key, list(given)), to_value(value, list(given.values()))
        if isinstance(keys, Tensor | Strings) and isinstance(values, Tensor | Strings):
            return Table(keys, values)
    expected = {OPTIONAL: "None", SEQUENCE: "a list"}.get(outermost, "a dict")
    raise InvalidArgument(
        f"input {port.name!r}: expected {port}, given {type(given).__name__}",
        hint=f"give {expected}",
    )


def _string(item: object, port: Port) -> str:
    """A string as it is: the text of anything else would silently be another value."""
    if not isinstance(item, str):
        raise InvalidArgument(
            f"input {port.name!r}: expected {port}, given an item of {type(item).__name__}",
            hint="convert the items to str; bytes with .decode()",
        )
    try:
        item.encode()
    except UnicodeEncodeError as fault:
        raise InvalidArgument(
            f"input {port.name!r}: expected {port}, given {item[:80]!a}, which is no UTF-8",
            hint=f"it was decoded with a wrong encoding: {fault.reason}",
        ) from None
    return str(item)


@lru_cache(maxsize=64)
def _element(dtype: np.dtype[Any]) -> DType:
    """NumPy's dtype as one of ours, whatever its byte order. Raises ValueError."""
    return DType(dtype.newbyteorder("=").name)


def tensor_of(array: Array, name: str = "array", wanted: DType | None = None) -> Tensor:
    """A tensor with an array's bytes, without a copy where the array is in C order already.

    Where ``ml_dtypes`` is missing, unsigned integers are the bits of a narrow type ``wanted``.
    """
    try:
        dtype = _element(array.dtype)
        if wanted is not None and wanted.narrow and array.dtype == wanted.numpy:
            dtype = wanted
    except ValueError:
        if wanted is not None:
            raise InvalidArgument(
                f"input {name!r}: expected {wanted.value}, given {array.dtype}{list(array.shape)}:"
                f" dtype {array.dtype} has no counterpart",
                hint=f"convert it, for example with .astype('{wanted.value}')",
            ) from None
        raise InvalidArgument(
            f"input {name!r}: dtype {array.dtype} has no counterpart",
            hint=f"convert it to one of {', '.join(d.value for d in DType)}",
        ) from None
    plain = np.ascontiguousarray(array, dtype=dtype.numpy)
    data = plain.reshape(-1).view(np.uint8).data if plain.size else memoryview(b"")
    return Tensor(dtype, array.shape, data=data)


def object_of(value: Value) -> Any:
    """An array, or for what contains arrays a list, a dict or None."""
    match value:
        case Items(values=values):
            return [object_of(each) for each in values]
        case Nothing():
            return None
        case Table(keys=keys, values=values):
            return dict(zip(array_of(keys).tolist(), array_of(values).tolist(), strict=True))
    return array_of(value)


def array_of(value: Tensor | Strings, data: bytes | memoryview | None = None) -> Array:
    """An array of a tensor; ``data`` holds its bytes where it lay in device memory."""
    if isinstance(value, Strings):
        return np.array(value.items, dtype=object).reshape(value.shape)
    raw = data if data is not None else value.data
    if raw is None:
        raise InvalidArgument(
            f"a tensor at {value.place} has no bytes here", hint="read its buffer first"
        )
    return np.frombuffer(raw, dtype=value.dtype.numpy).reshape(value.shape).copy()
