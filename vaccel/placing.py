"""Outputs that stay in device memory: where a call's results go, checked before any trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vaccel import bounds
from vaccel.binding import signature_text
from vaccel.buffer import Buffer
from vaccel.commands import Result
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import BufferRange, DType, Port, Tensor

if TYPE_CHECKING:
    from vaccel.client import Device

# What a reply says of an output beside its data, at most: name, type, shape, place.
_HEAD_BYTES: Final = 1024
# A buffer from its begin on, a place in one, or a tensor that lies there.
Place = Buffer | BufferRange | Tensor


def results_of(
    device: Device, outputs: Sequence[Port], out: Mapping[str, Place] | None
) -> tuple[Result, ...]:
    """Every output of a program, those that ``out`` names with a place; () where none has one.

    Raises InvalidArgument naming the output that does not exist or has no room, Unsupported for one
    that cannot lie in device memory, DeviceLost where a reset of the VF took the buffer.
    """
    if out is None:
        return ()
    if not isinstance(out, Mapping):
        raise InvalidArgument(
            f"out: a {type(out).__name__} does not say where outputs go",
            hint='give a dict such as out={"y": buffer}; an input called out goes in a dict, too',
        )
    known = {port.name: port for port in outputs}
    if unknown := [name for name in out if name not in known]:
        raise InvalidArgument(
            f"out: no output is called {unknown[0]!r:.80}: the program gives"
            f" {signature_text(outputs)}",
            hint="use one of these names",
        )
    places = {name: _place(device, known[name], given) for name, given in out.items()}
    return tuple(Result(name, places.get(name)) for name in known) if places else ()


def fit_a_reply(outputs: Sequence[Port], results: Sequence[Result]) -> bool:
    """Whether what comes back of a call surely fits the reply in its slab.

    What does not is asked for another way, by a second launch: of a state that is read and put back
    in place that would be a step too many.
    """
    placed = {each.name for each in results if each.place is not None}
    if not placed:
        return True
    back = [port for port in outputs if port.name not in placed]
    plain = all(port.dtype is not DType.STRING and not port.containers for port in back)
    most = len(back) * bounds.CALL_INLINE_BYTES + len(outputs) * _HEAD_BYTES
    return plain and most <= bounds.CALL_MESSAGE_BYTES


def _place(device: Device, port: Port, given: Any) -> BufferRange:
    if port.dtype is DType.STRING or port.containers:
        raise Unsupported(
            f"out: output {port} has no place in device memory", hint="it comes back by itself"
        )
    if isinstance(given, BufferRange):
        return given
    if isinstance(given, Tensor) and given.place is not None:
        if given.dtype is not port.dtype:
            raise InvalidArgument(
                f"out: output {port}, given a tensor of {given.dtype.value}",
                hint=f"give buffer.tensor({port.dtype.value!r}, shape), or the buffer itself",
            )
        return given.place
    if not isinstance(given, Buffer):
        raise InvalidArgument(
            f"out: output {port}: a {type(given).__name__} is no place in device memory",
            hint="give device.buffer(size), or a place in one: buffer.at(offset)",
        )
    if given._device is not device:
        raise InvalidArgument(
            f"out: output {port}: buffer {given.id} is of another device",
            hint="make it on this one: device.buffer(size)",
        )
    _check_room(port, given)
    return given.at()


def _check_room(port: Port, buffer: Buffer) -> None:
    """What only a launch shows, the worker refuses."""
    shape = tuple(dim for dim in port.shape or () if isinstance(dim, int))
    if port.shape is None or len(shape) != len(port.shape):
        return
    needed = Tensor(port.dtype, shape).nbytes
    if needed > buffer.size:
        raise InvalidArgument(
            f"out: output {port} has {needed} bytes, buffer {buffer.id} has {buffer.size}",
            hint="allocate a larger buffer",
        )
