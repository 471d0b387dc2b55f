"""How the functions of kernels call them, and what their help says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vaccel.kernels import find
from vaccel.kernels.declaration import Kernel
from vaccel.model import Array, Tensor

if TYPE_CHECKING:
    from vaccel.client import Device

# An operand: an array, a tensor in device memory, or Python numbers, which take a fitting type.
Given = Array | Tensor | float | Sequence[Any]
Ints = int | Sequence[int]
Function = TypeVar("Function", bound=Callable[..., Any])


def results(
    device: Device, name: str, operands: Mapping[str, Given | None], **settings: Any
) -> tuple[Array, ...]:
    """Run a kernel: its results in order. Operands that are None are left out."""
    outputs = device._kernels.run(name, (), operands, settings)
    return tuple(outputs[each.name] for each in find(name).results)


def result(
    device: Device, name: str, operands: Mapping[str, Given | None], **settings: Any
) -> Array:
    """Run a kernel: its only result."""
    return results(device, name, operands, **settings)[0]


def kernel(function: Function) -> Function:
    """The function of the kernel of its name, whose help also says what the table says."""
    described(function, find(function.__name__), inspect.getdoc(function) or "")
    return function


def described(function: Any, declared: Kernel, text: str) -> None:
    """Give a function a help text of its first line, the table, and its example."""
    first, _, example = text.partition("\n\n")
    function.__doc__ = f"{first}\n\n{describe(declared)}\n\n{example}\n"


def describe(declared: Kernel) -> str:
    """What the table says of a kernel, as text."""
    operands = (f"{each}{' or none' * each.optional}" for each in declared.operands)
    lines = [
        f"Computes {declared.formula}",
        "Takes    " + ", ".join(operands),
        "Gives    " + ", ".join(map(str, declared.results)),
        *(f"Types    {each}" for each in declared.types),
        *(f"Setting  {each}: {each.summary}" for each in declared.attributes),
    ]
    if declared.products:
        lines.append("Setting  arithmetic='': numbers of the arrays, of device.info.arithmetic")
    return "\n".join(lines)


class Unary(Protocol):
    """A kernel of one operand."""

    def __call__(self, device: Device, x: Given) -> Array:
        """Run it."""


class Binary(Protocol):
    """A kernel of two operands that broadcast."""

    def __call__(self, device: Device, a: Given, b: Given) -> Array:
        """Run it."""


def unary(name: str, given: str, expected: str) -> Unary:
    """The function of a kernel of one operand, with an example."""
    declared = find(name)

    def call(device: Device, x: Given) -> Array:
        return result(device, name, {"x": x})

    example = f">>> print(ops.{name}(device, {given}))\n{expected}"
    return named(call, declared, example)


def binary(name: str, given: str, expected: str) -> Binary:
    """The function of a kernel of two operands, with an example."""
    declared = find(name)

    def call(device: Device, a: Given, b: Given) -> Array:
        return result(device, name, {"a": a, "b": b})

    example = f">>> print(ops.{name}(device, {given}))\n{expected}"
    return named(call, declared, example)


def named(call: Function, declared: Kernel, example: str) -> Function:
    """A function under its kernel's name, with the help of the table and an example."""
    call.__name__ = call.__qualname__ = declared.name
    described(call, declared, f"{declared.summary}.\n\n{example}")
    return call
