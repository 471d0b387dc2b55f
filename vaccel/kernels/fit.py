"""Whether operands fit a kernel and one another: dimensions against the kernel's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from vaccel import bounds
from vaccel.errors import InvalidArgument
from vaccel.kernels.declaration import (
    ARITHMETIC,
    Case,
    Dim,
    Kernel,
    Operand,
    Setting,
    Settings,
)
from vaccel.model import DType, Port

_ANY: Final = "…"


def bind_operands(kernel: Kernel, given: Sequence[Port]) -> dict[str, Port]:
    """Operands by the kernel's names: named ones by name, the others in order.

    Raises InvalidArgument naming the operand that is unknown, doubled or missing.
    """
    found: dict[str, Port] = {}
    known = dict.fromkeys(names(kernel, len(given)))
    order = iter(known)
    for port in given:
        name = port.name or next((each for each in order if each not in found), "")
        if name not in known:
            raise InvalidArgument(
                f"kernel {kernel.name}: no operand {(name or str(port))[: bounds.NAME_BYTES]!r}",
                hint="it takes " + ", ".join(map(str, kernel.operands)),
            )
        if name in found:
            raise InvalidArgument(
                f"kernel {kernel.name}: operand {name!r} is given twice", hint="give it once"
            )
        found[name] = Port(name, port.dtype, port.shape)
    for operand in kernel.operands:
        first = f"{operand.name}0" if operand.repeated else operand.name
        if not operand.optional and first not in found:
            listed = "; ".join(str(port) for port in found.values()) or "none"
            raise InvalidArgument(
                f"kernel {kernel.name}: operand {operand} is missing, given {listed}",
                hint="it takes " + ", ".join(map(str, kernel.operands)),
            )
    return {name: found[name] for name in known if name in found}


def names(kernel: Kernel, count: int) -> list[str]:
    """Names of operands in order; a repeated one as often as operands are given."""
    found: list[str] = []
    for operand in kernel.operands:
        if operand.repeated:
            found += [f"{operand.name}{index}" for index in range(count)]
        else:
            found.append(operand.name)
    return found


def types_of(kernel: Kernel, ports: Mapping[str, Port]) -> list[DType | None]:
    """Types in the kernel's order, None for an operand left out; of a repeated one, the one type.

    Raises InvalidArgument where those of a repeated operand differ.
    """
    found: list[DType | None] = []
    for operand in kernel.operands:
        dtypes = [port.dtype for name, port in ports.items() if declared(kernel, name) is operand]
        if len(set(dtypes)) > 1:
            listed = ", ".join(dtype.value for dtype in dtypes[:32])
            raise InvalidArgument(
                f"kernel {kernel.name}: {operand.name} are of types {listed}",
                hint="give them one type, for example with .astype()",
            )
        found.append(dtypes[0] if dtypes else None)
    return found


def declared(kernel: Kernel, name: str) -> Operand | None:
    """What the kernel says of an operand, or None where it has none of that name."""
    for operand in kernel.operands:
        if name == operand.name and not operand.repeated:
            return operand
        if operand.repeated and name.removeprefix(operand.name).isdecimal():
            return operand
    return None


def check_operands(kernel: Kernel, ports: Mapping[str, Port], settings: Settings) -> None:
    """Raise InvalidArgument, operands side by side, where shapes do not fit.

    What is not known yet (a symbol, a rank) is taken to fit.
    """
    fit = _Fit(kernel, ports, settings)
    for name, port in ports.items():
        operand = declared(kernel, name)
        if operand is not None and port.shape is not None:
            fit.operand(operand, name, port.shape)
    dims = {name: port.shape for name, port in ports.items() if port.shape is not None}
    _check_axes(kernel, ports, settings, fit)
    if kernel.check is not None and len(dims) == len(ports):
        complaint = kernel.check(Case(dims, settings, fit.sizes))
        if complaint:
            fit.refuse(complaint)


class _Fit:
    """Sizes of symbols found so far, each with the operand that it was found in."""

    def __init__(self, kernel: Kernel, ports: Mapping[str, Port], settings: Settings) -> None:
        self._kernel = kernel
        self._ports = ports
        self._settings = settings
        self._found: dict[str, tuple[int, str]] = {}
        self._groups: dict[str, tuple[tuple[Dim, ...], str]] = {}

    @property
    def sizes(self) -> dict[str, int]:
        """Symbols whose sizes are known."""
        return {name: size for name, (size, _) in self._found.items()}

    def refuse(self, complaint: str) -> None:
        """Raise InvalidArgument with all operands."""
        given = "; ".join(str(port) for port in self._ports.values())
        raise InvalidArgument(
            f"kernel {self._kernel.name}: {given}: {complaint}",
            hint="it takes " + ", ".join(map(str, self._kernel.operands)),
        )

    def operand(self, operand: Operand, name: str, shape: tuple[Dim, ...]) -> None:
        """Take in one operand's shape. Raises InvalidArgument where it does not fit the others."""
        tokens = operand.tokens
        open_at = next((i for i, token in enumerate(tokens) if token.endswith(_ANY)), None)
        least = len(tokens) - (open_at is not None)
        if len(shape) < least or (open_at is None and len(shape) != least):
            wanted = f"at least {least}" if open_at is not None else str(least)
            self.refuse(f"{name} has rank {len(shape)}, expected {wanted} as {operand}")
        if open_at is None:
            fixed = list(zip(tokens, shape, strict=True))
        else:
            extra = len(shape) - least
            after = open_at + extra
            fixed = [
                *zip(tokens[:open_at], shape[:open_at], strict=True),
                *zip(tokens[open_at + 1 :], shape[after:], strict=True),
            ]
            if not operand.repeated:
                self._group(tokens[open_at], shape[open_at:after], name)
        for token, dim in fixed:
            if isinstance(dim, int):
                self._one(token, dim, name)
        self._check_empty(tokens, shape, name)

    def _check_empty(self, tokens: tuple[str, ...], shape: tuple[Dim, ...], name: str) -> None:
        free = set(self._kernel.empty)
        if 0 in shape and not free & {*tokens, "*"}:
            self.refuse(f"{name} has no elements")

    def _one(self, token: str, dim: int, name: str) -> None:
        if token.isdecimal():
            if dim != int(token):
                self.refuse(f"a dimension of {name} is {dim}, not {token}")
            return
        factor, _, symbol = token.rpartition("*")
        symbol, _, divisor = symbol.partition("/")
        size = dim * int(self._settings[divisor]) if divisor else dim  # type: ignore[arg-type]
        if factor:
            if size % int(factor):
                self.refuse(f"{token} is {dim} in {name}, no multiple of {factor}")
            size //= int(factor)
        known, where = self._found.setdefault(symbol, (size, name))
        if known != size:
            self.refuse(f"{symbol} is {known} in {where}, but {size} in {name}")

    def _group(self, token: str, dims: tuple[Dim, ...], name: str) -> None:
        if token not in self._groups:
            self._groups[token] = (dims, name)
            return
        known, where = self._groups[token]
        if token == _ANY:
            self._groups[token] = (self._broadcast(known, dims, where, name), f"{where} and {name}")
        elif len(known) != len(dims) or any(
            isinstance(a, int) and isinstance(b, int) and a != b
            for a, b in zip(known, dims, strict=False)
        ):
            self.refuse(f"{token} is {_text(known)} in {where}, but {_text(dims)} in {name}")

    def _broadcast(
        self, left: tuple[Dim, ...], right: tuple[Dim, ...], where: str, name: str
    ) -> tuple[Dim, ...]:
        width = max(len(left), len(right))
        wide: list[Dim] = []
        for a, b in zip(
            (1,) * (width - len(left)) + left, (1,) * (width - len(right)) + right, strict=True
        ):
            if isinstance(a, int) and isinstance(b, int) and a != b and 1 not in (a, b):
                self.refuse(
                    f"{_text(left)} of {where} and {_text(right)} of {name} do not broadcast"
                )
            wide.append(b if a == 1 else a)
        return tuple(wide)


def _text(dims: tuple[Dim, ...]) -> str:
    return "[" + ", ".join(str(dim or "?") if dim != 0 else "0" for dim in dims) + "]"


def _check_axes(kernel: Kernel, ports: Mapping[str, Port], settings: Settings, fit: _Fit) -> None:
    first = next(iter(ports.values()), None)
    if first is None or first.shape is None:
        return
    rank = len(first.shape)
    for attribute in kernel.attributes:
        if not attribute.axis:
            continue
        axes = _integers(settings[attribute.name])
        beyond = [axis for axis in axes if not -rank <= axis < rank]
        if beyond:
            fit.refuse(f"{attribute.name} {beyond[0]} is not an axis of {first.name}")
        at = [axis % rank for axis in axes]
        if len(set(at)) != len(at):
            fit.refuse(f"{attribute.name} {list(axes)} names an axis twice")
        if attribute.axis == "all" and at and len(at) != rank:
            fit.refuse(f"{attribute.name} {list(axes)} is no order of {rank} axes")


def _integers(value: Setting) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (int(value),)


def open_shape(
    kernel: Kernel, operand: Operand, shape: tuple[int, ...], settings: Settings
) -> tuple[Dim, ...]:
    """A shape with as few numbers as the kernel allows, so that one program serves many shapes.

    Of symbols that must be fixed the number stays; one that broadcasts is unknown. Attention in an
    arithmetic of its own is several nodes, which are drawn for their numbers.
    """
    if "*" in kernel.fixed or (kernel.family == "attention" and settings.get(ARITHMETIC)):
        return shape
    tokens = operand.tokens
    at = next((i for i, token in enumerate(tokens) if token.endswith(_ANY)), len(tokens))
    extra = len(shape) - len(tokens) + 1 if at < len(tokens) else 0
    dims: list[Dim] = []
    for index, size in enumerate(shape):
        if at <= index < at + extra:
            token = tokens[at]
            free = token == _ANY or operand.repeated
            dims.append(None if free else f"{token[:-1]}{index - at}")
            continue
        token = tokens[index if index < at else index - extra + 1]
        dims.append(_open(kernel, token, size, settings))
    return tuple(dims)


def _open(kernel: Kernel, token: str, size: int, settings: Settings) -> Dim:
    factor, _, rest = token.rpartition("*")
    symbol, _, divisor = rest.partition("/")
    if token.isdecimal() or symbol in kernel.fixed:
        return size
    same = not factor and (not divisor or settings[divisor] == 1)
    return symbol if same else None
