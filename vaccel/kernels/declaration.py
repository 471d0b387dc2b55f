"""What a kernel is: operands with their dimensions, types that go together, attributes.

Plain data, so that the SDK, the command line and the worker read the same table. How a kernel is
computed is the worker's business.

Dimensions are written as text, separated by commas:

    m          a symbol: the same size wherever it stands in one call
    4*h        so many times a symbol
    c/group    a symbol divided by an attribute
    1          that size
    …          any number of leading dimensions, which broadcast as NumPy's do
    x…         any number of dimensions, the same ones wherever ``x…`` stands
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vaccel.errors import InvalidArgument
from vaccel.model import DType

Setting = int | float | bool | str | tuple[int, ...]
# A dimension of an operand: a number, a symbol, or None where unknown.
Dim = int | str | None

# Integers of one attribute: permutations, pads and slices of tensors of the highest rank.
INTEGERS_PER_ATTRIBUTE: Final = 64
_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand or a result. ``repeated``: one or more of them, which are called name0, name1."""

    name: str
    dims: str
    optional: bool = False
    repeated: bool = False

    @property
    def tokens(self) -> tuple[str, ...]:
        """Its dimensions, one text each."""
        return tuple(token.strip() for token in self.dims.split(",")) if self.dims else ()

    def __str__(self) -> str:
        return f"{self.name}[{self.dims}]" + ("…" if self.repeated else "")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A setting of a kernel. ``kind`` is int, float, bool, ints, choice or dtype.

    ``axis`` says that it counts axes of the first operand: "one", "some", or "all" in an order.
    A default of None: it must be given.
    """

    name: str
    kind: str
    summary: str
    default: Setting | None = None
    choices: tuple[str, ...] = ()
    axis: str = ""
    least: int | None = None

    def read(self, text: str) -> Setting:
        """A value that travelled. Raises InvalidArgument naming attribute and text."""
        try:
            value = self._parse(text)
        except (ValueError, OverflowError):
            raise InvalidArgument(
                f"attribute {self.name} is {text[:80]!r}", hint=f"it is {self.expected}"
            ) from None
        return value

    def _parse(self, text: str) -> Setting:
        if self.kind == "float":
            real = float(text)
            if math.isnan(real):
                raise ValueError
            return real
        if self.kind == "bool":
            return {"0": False, "1": True, "False": False, "True": True}[_known(text)]
        if self.kind in ("choice", "dtype"):
            if text not in self.choices:
                raise ValueError
            return text
        if self.kind == "int":
            number = _integer(text)
            if self.least is not None and number < self.least:
                raise ValueError
            return number
        numbers = tuple(_integer(each) for each in text.split(",")) if text else ()
        if len(numbers) > INTEGERS_PER_ATTRIBUTE:
            raise ValueError
        return numbers

    @property
    def expected(self) -> str:
        """What it takes, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kinds = {
            "int": "an integer" + (f" of {self.least} or more" if self.least is not None else ""),
            "float": "a number",
            "bool": "0 or 1",
            "ints": f"at most {INTEGERS_PER_ATTRIBUTE} integers separated by commas",
        }
        return kinds[self.kind]

    def __str__(self) -> str:
        if self.default is None:
            return self.name
        one = isinstance(self.default, tuple) and len(self.default) == 1
        return f"{self.name}={self.default[0] if one else self.default!r}"  # type: ignore[index]


def setting_text(value: object) -> str:
    """A setting as it travels: a number, a flag as 0 or 1, integers separated by commas, a name."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, type):  # an element type, as NumPy's own are
        return value.__name__
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(str(operator.index(each)) for each in value)
    return str(value)


def _known(text: str) -> str:
    if text not in ("0", "1", "False", "True"):
        raise ValueError
    return text


def _integer(text: str) -> int:
    if len(text) > 20:  # as long as the longest int64; more digits would take time to parse
        raise ValueError
    value = int(text)
    if not -_INT64 <= value < _INT64:
        raise ValueError
    return value


@dataclass(frozen=True, slots=True)
class Types:
    """Element types that go together: a variable or a type for each operand, and for each result.

    Operands beyond ``operands`` are not taken in this combination. A result ``=name`` has the type
    that the attribute names.
    """

    operands: tuple[str, ...]
    results: tuple[str, ...]
    variables: Mapping[str, tuple[DType, ...]] = field(default_factory=dict)

    def match(self, given: Sequence[DType | None]) -> dict[str, DType] | None:
        """The variables for operands of these types (None: left out), or None where none fit."""
        found: dict[str, DType] = {}
        for index, dtype in enumerate(given):
            if dtype is None:
                continue
            if index >= len(self.operands):
                return None
            wanted = self.operands[index]
            if wanted not in self.variables:
                if dtype.value != wanted:
                    return None
            elif dtype not in self.variables[wanted] or found.setdefault(wanted, dtype) != dtype:
                return None
        return found

    def result(self, index: int, variables: Mapping[str, DType], settings: Settings) -> DType:
        """The type of a result."""
        name = self.results[index]
        if name.startswith("="):
            return DType(str(settings[name[1:]]))
        return variables[name] if name in variables else DType(name)

    def __str__(self) -> str:
        where = "; ".join(
            f"{name}: " + ", ".join(dtype.value for dtype in dtypes)
            for name, dtypes in self.variables.items()
        )
        given = ", ".join(name.removeprefix("=") for name in self.results)
        return f"{', '.join(self.operands)} → {given}" + (f" ({where})" if where else "")


Settings = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel's operands in one call: dimensions by name, and every setting."""

    dims: Mapping[str, tuple[Dim, ...]]
    settings: Settings
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel by name. ``products`` take one setting more, ``arithmetic``: the arrays' numbers.

    ``fixed`` names symbols that must be numbers when the kernel is compiled; "*" is all of them.
    ``check`` says what does not fit beyond the dimensions, or "". An operand without elements is
    taken where it has a dimension of ``empty``; "*" is any.
    """

    name: str
    family: str
    summary: str
    formula: str
    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]
    types: tuple[Types, ...]
    attributes: tuple[Attribute, ...] = ()
    products: bool = False
    fixed: tuple[str, ...] = ()
    check: Callable[[Case], str] | None = None
    empty: tuple[str, ...] = ("*",)

    @property
    def signature(self) -> str:
        """Operands and settings as a call shows them."""
        parts = [f"{each}=None" if each.optional else str(each) for each in self.operands]
        parts += [str(each) for each in self.attributes]
        if self.products:
            parts.append("arithmetic=''")
        given = ", ".join(map(str, self.results))
        return f"{self.name}({', '.join(parts)}) → {given}"

    def __str__(self) -> str:
        return self.signature

    def attribute(self, name: str) -> Attribute | None:
        """An attribute by name."""
        return next((each for each in self.attributes if each.name == name), None)

    def settings(self, texts: Mapping[str, str]) -> dict[str, Setting]:
        """Every setting, defaults included. Raises InvalidArgument naming the one at fault."""
        for name in texts:
            if self.attribute(name) is None and not (self.products and name == ARITHMETIC):
                known = [each.name for each in self.attributes] + [ARITHMETIC] * self.products
                raise InvalidArgument(
                    f"kernel {self.name}: no attribute {name[:80]!r}",
                    hint="it has: " + (", ".join(known) or "none"),
                )
        found: dict[str, Setting] = {}
        for each in self.attributes:
            if each.name in texts:
                found[each.name] = self._read(each, texts[each.name])
            elif each.default is None:
                raise InvalidArgument(
                    f"kernel {self.name}: attribute {each.name} is missing",
                    hint=f"{each.summary}; it is {each.expected}",
                )
            else:
                found[each.name] = each.default
        if self.products:
            found[ARITHMETIC] = texts.get(ARITHMETIC, "")
        return found

    def _read(self, attribute: Attribute, text: str) -> Setting:
        try:
            return attribute.read(text)
        except InvalidArgument as fault:
            raise InvalidArgument(f"kernel {self.name}: {fault.message}", hint=fault.hint) from None

    def variant(self, given: Sequence[DType | None]) -> tuple[Types, dict[str, DType]]:
        """The combination for operands of these types. Raises InvalidArgument with all there are.

        ``given`` is in the operands' order, None for one left out; those of a repeated operand
        must be of one type, and come as one.
        """
        for types in self.types:
            variables = types.match(given)
            if variables is not None:
                return types, variables
        listed = ", ".join(dtype.value if dtype else "none" for dtype in given)
        raise InvalidArgument(
            f"kernel {self.name}: no operands of types {listed}",
            hint="it takes " + " or ".join(map(str, self.types)),
        )


# The setting of products that names what the arrays compute in.
ARITHMETIC: Final = "arithmetic"
