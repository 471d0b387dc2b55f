"""Single kernels on arrays: checked here against the table, compiled once, kept for the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vaccel import binding, bounds, kernels
from vaccel.errors import Exhausted, InvalidArgument, Unsupported, VaccelError
from vaccel.kernels import fit
from vaccel.kernels.declaration import ARITHMETIC, Kernel, Setting, setting_text
from vaccel.loaded_model import Model, Outputs
from vaccel.model import Array, Cost, Costing, DType, Port, Strings, Tensor

if TYPE_CHECKING:
    from vaccel.client import Device

# A kernel's name, its operands and its settings: as they were given, and as it is compiled.
Asked = tuple[str, tuple[Port, ...], tuple[tuple[str, str], ...]]
# Calls whose operands were found to fit are remembered, so many of them.
_CHECKED: Final = 1024


@dataclass(slots=True)
class _Kept:
    """A compiled kernel, and how many calls of it are under way."""

    model: Model
    users: int = 0


class KernelCalls:
    """The kernels of one device, the least recently used ones forgotten. Any thread may use it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kept: OrderedDict[Asked, _Kept] = OrderedDict()
        self._checked: dict[Asked, tuple[Port, ...]] = {}
        self._lock = threading.Lock()
        self._last: Costing = Cost

    @property
    def last_cost(self) -> Cost:
        """What the last kernel would have cost the device."""
        return self._last()

    def run(
        self,
        name: str,
        positional: Sequence[Any],
        named: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> Outputs:
        """Run a kernel. Operands that are None are left out.

        Raises NotFound for an unknown kernel, InvalidArgument, before anything travels, where
        operands do not fit the kernel or one another.
        """
        kernel = kernels.find(name)
        texts = {key: setting_text(value) for key, value in settings.items()}
        tensors = _tensors(kernel, _by_name(kernel, positional, named))
        ports = tuple(Port(n, each.dtype, each.shape) for n, each in tensors.items())
        asked = (name, ports, tuple(texts.items()))
        opened = self._checked.get(asked)
        if opened is None:
            opened = self._check(kernel, ports, texts)
            if len(self._checked) >= _CHECKED:
                self._checked.clear()
            self._checked[asked] = opened
        with self._model(kernel, opened, texts) as model:
            outputs = model(*(tensors[port.name] for port in model.inputs))
        self._last = outputs.costing
        return outputs

    def _check(
        self, kernel: Kernel, given: Sequence[Port], texts: Mapping[str, str]
    ) -> tuple[Port, ...]:
        """What to compile for operands that fit: as few numbers as the kernel allows."""
        settings = kernel.settings(texts)
        self._check_arithmetic(kernel, texts)
        ports = fit.bind_operands(kernel, given)
        kernel.variant(fit.types_of(kernel, ports))
        fit.check_operands(kernel, ports, settings)
        return tuple(_opened(kernel, port, settings) for port in ports.values())

    def _check_arithmetic(self, kernel: Kernel, texts: Mapping[str, str]) -> None:
        asked, known = texts.get(ARITHMETIC, ""), self._device.info.arithmetic
        if asked and asked not in known:
            raise Unsupported(
                f"kernel {kernel.name}: {self._device.info.card} does not compute in {asked!r}",
                hint="it does in " + ", ".join(known),
            )

    @contextmanager
    def _model(
        self, kernel: Kernel, ports: tuple[Port, ...], texts: Mapping[str, str]
    ) -> Iterator[Model]:
        key = (kernel.name, ports, tuple(sorted(texts.items())))
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(self._load(kernel, ports, texts))
            self._kept.move_to_end(key)
            kept.users += 1
            self._forget(len(self._kept) - bounds.KERNELS_KEPT)
        try:
            yield kept.model
        finally:
            with self._lock:
                kept.users -= 1

    def _load(self, kernel: Kernel, ports: Sequence[Port], texts: Mapping[str, str]) -> Model:
        """Compile; where the context holds too many programs, kernels that are idle make room."""
        try:
            return self._device.kernel(kernel.name, *ports, **texts)
        except Exhausted:
            if not self._forget(len(self._kept)):
                raise
            return self._device.kernel(kernel.name, *ports, **texts)

    def _forget(self, count: int) -> int:
        """Unload at most so many idle kernels, those used longest ago first; how many it were."""
        if count <= 0:
            return 0
        idle = [key for key, kept in self._kept.items() if not kept.users][:count]
        for key in idle:
            with suppress(VaccelError):  # it is forgotten here in any case
                self._kept.pop(key).model.unload()
        return len(idle)


def _opened(kernel: Kernel, port: Port, settings: Mapping[str, Setting]) -> Port:
    operand = fit.declared(kernel, port.name)
    shape = tuple(dim for dim in port.shape or () if isinstance(dim, int))
    if operand is None:
        return port
    return Port(port.name, port.dtype, fit.open_shape(kernel, operand, shape, settings))


def _by_name(
    kernel: Kernel, positional: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Any]:
    names = fit.names(kernel, len(positional))
    if len(positional) > len(names):
        raise InvalidArgument(
            f"kernel {kernel.name}: {len(positional)} operands given",
            hint="it takes " + ", ".join(map(str, kernel.operands)),
        )
    given = dict(zip(names, positional, strict=False)) | dict(named)
    return {name: value for name, value in given.items() if value is not None}


def _tensors(kernel: Kernel, given: Mapping[str, Any]) -> dict[str, Tensor]:
    """Operands as tensors. Python numbers and lists take a type that suits the arrays."""
    found = {
        name: value if isinstance(value, Tensor) else _tensor(kernel, name, value)
        for name, value in given.items()
        if isinstance(value, Tensor | Strings | np.ndarray | np.generic)
    }
    loose = {n: _numbers(kernel, n, value) for n, value in given.items() if n not in found}
    if loose:
        dtypes = [each.dtype for each in found.values()]
        for first in (*dtypes[:1], None, DType.FLOAT32):
            tried = found | {n: _guess(kernel, n, each, first) for n, each in loose.items()}
            if _suits(kernel, tried):
                found = tried
                break
        else:
            found |= {name: _guess(kernel, name, each, None) for name, each in loose.items()}
    return {name: found[name] for name in given}


def _suits(kernel: Kernel, tensors: Mapping[str, Tensor]) -> bool:
    ports = {name: Port(name, each.dtype, None) for name, each in tensors.items()}
    try:
        kernel.variant(fit.types_of(kernel, ports))
    except InvalidArgument:
        return False
    return True


def _numbers(kernel: Kernel, name: str, value: Any) -> Array:
    """Python numbers, or lists of them, as NumPy takes them."""
    try:
        plain = np.asarray(value)
    except InvalidArgument as fault:  # of a buffer, which knows what to say instead
        raise InvalidArgument(
            f"kernel {kernel.name}: operand {name!r}: {fault.message}", hint=fault.hint
        ) from None
    except (TypeError, ValueError, OverflowError):
        raise _no_array(kernel, name, f"a {type(value).__name__} of uneven lists") from None
    if plain.dtype.kind not in "biuf":
        large = isinstance(value, int)
        what = "a number beyond int64" if large else f"a {type(value).__name__} without numbers"
        raise _no_array(kernel, name, what)
    return plain


def _guess(kernel: Kernel, name: str, plain: Array, dtype: DType | None) -> Tensor:
    """A Python value as a tensor: of a type where its numbers are of that sort, else of its own."""
    # An integer may become a float, but nothing is cut off.
    sorts = {"b": "b", "i": "iuf", "u": "iuf", "f": "f"}[plain.dtype.kind]
    if dtype is not None and dtype.numpy.kind in sorts:
        limits = np.iinfo(dtype.numpy) if dtype.numpy.kind in "iu" else None
        if limits and plain.size and not limits.min <= plain.min() <= plain.max() <= limits.max:
            raise InvalidArgument(
                f"kernel {kernel.name}: operand {name!r}: its numbers are beyond {dtype.value}",
                hint=f"{limits.min} to {limits.max}, or give arrays of a wider type",
            )
        return binding.tensor_of(plain.astype(dtype.numpy), name)
    return _tensor(kernel, name, plain)


def _tensor(kernel: Kernel, name: str, value: Any) -> Tensor:
    if isinstance(value, Strings):
        raise _no_array(kernel, name, "strings")
    plain = np.asarray(value)
    try:
        return binding.tensor_of(plain, name)
    except InvalidArgument:
        raise _no_array(kernel, name, f"an array of dtype {plain.dtype}") from None


def _no_array(kernel: Kernel, name: str, given: str) -> InvalidArgument:
    return InvalidArgument(
        f"kernel {kernel.name}: operand {name!r} is {given[:80]}",
        hint="it takes arrays, " + " or ".join(map(str, kernel.types)),
    )
