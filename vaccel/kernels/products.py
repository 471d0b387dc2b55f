"""Matrix products and convolutions: what the arrays are there for."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Attribute, Case, Kernel, Operand, Types
from vaccel.kernels.types import BYTES, FLOATS

# Sums of 8-bit products are exact in int32.
_EXACT: Final = Types(("A", "B"), ("int32",), {"A": BYTES, "B": BYTES})
_PRODUCT: Final = (Types(("T", "T"), ("T",), {"T": FLOATS}), _EXACT)
_BIASED: Final = (Types(("T", "T", "T"), ("T",), {"T": FLOATS}), _EXACT)


def _product(name: str, summary: str, formula: str, *operands: str) -> Kernel:
    *given, result = operands
    return Kernel(
        name,
        "product",
        summary,
        formula,
        tuple(Operand(each[0], each[1:].strip("[]")) for each in given),
        (Operand("result", result.strip("[]")),),
        _PRODUCT,
        products=True,
    )


_MATRICES: Final = (
    _product(
        "matmul",
        "The matrix product, leading dimensions as batches that broadcast",
        "result[…, m, n] = Σₖ a[…, m, k] · b[…, k, n]",
        "a[…, m, k]",
        "b[…, k, n]",
        "[…, m, n]",
    ),
    _product(
        "batched_matmul",
        "One matrix product for each of a batch",
        "result[i, m, n] = Σₖ a[i, m, k] · b[i, k, n]",
        "a[i, m, k]",
        "b[i, k, n]",
        "[i, m, n]",
    ),
    _product(
        "gemv",
        "A matrix by a vector",
        "result[m] = Σₖ a[m, k] · x[k]",
        "a[m, k]",
        "x[k]",
        "[m]",
    ),
    Kernel(
        "linear",
        "product",
        "A layer of a network: rows by the transposed weight, and a bias",
        "result[m, n] = Σₖ x[m, k] · weight[n, k] + bias[n]",
        (Operand("x", "m, k"), Operand("weight", "n, k"), Operand("bias", "n", optional=True)),
        (Operand("result", "m, n"),),
        (Types(("T", "T", "T"), ("T",), {"T": FLOATS}),),
        products=True,
    ),
)


def window(rank: int | None, *, dilation: bool = True) -> tuple[Attribute, ...]:
    """Settings of what slides over an image; one number serves all axes."""
    axes = "" if rank == 1 else ", one or one an axis"
    stride = Attribute("stride", "ints", f"steps of the window{axes}", (1,))
    padding = Attribute("padding", "ints", "zeros around: one, or all before, then after", (0,))
    within = Attribute("dilation", "ints", f"steps within the window{axes}", (1,))
    return (stride, padding, within) if dilation else (stride, padding)


def spread(values: object, rank: int, name: str) -> tuple[int, ...] | str:
    """Settings of a window as one number an axis; a complaint where they do not come to that.

    ``padding`` takes 1, ``rank`` or 2 * ``rank`` numbers and gives 2 * ``rank``.
    """
    given = values if isinstance(values, tuple) else ()
    if len(given) == 1:
        given *= rank
    if name == "padding" and len(given) == rank:
        given *= 2
    wanted = 2 * rank if name == "padding" else rank
    if len(given) != wanted:
        return f"{name} {list(given)} has {len(given)} numbers for {rank} axes"
    least = 0 if name == "padding" else 1
    if min(given, default=least) < least:
        return f"{name} {list(given)} is less than {least}"
    return given


def check_window(case: Case, data: str, kernel: tuple[object, ...]) -> str:
    """What is wrong with a window of a size over the last axes of an operand."""
    rank = len(kernel)
    settings = {}
    for name in ("stride", "padding", "dilation"):
        value = spread(case.settings.get(name, (1,)), rank, name)
        if isinstance(value, str):
            return value
        settings[name] = value
    pads, sizes = settings["padding"], case.dims[data][-rank:]
    for axis, (size, side) in enumerate(zip(sizes, kernel, strict=True)):
        if not isinstance(size, int) or not isinstance(side, int):
            continue
        wide = size + pads[axis] + pads[axis + rank]
        covered = (side - 1) * settings["dilation"][axis] + 1
        if side < 1 or covered > wide:
            return f"a window of {covered} does not fit {wide} elements of {data}"
    return ""


def _check_convolution(case: Case) -> str:
    group, filters = case.settings["group"], case.dims["weight"][0]
    if isinstance(group, int) and isinstance(filters, int) and filters % group:
        return f"{filters} filters are no multiple of {group} groups"
    return check_window(case, "x", case.dims["weight"][2:])


def _check_depthwise(case: Case) -> str:
    channels, filters = case.sizes.get("c"), case.dims["weight"][0]
    if channels and isinstance(filters, int) and filters % channels:
        return f"{filters} filters are no multiple of {channels} channels"
    return check_window(case, "x", case.dims["weight"][2:])


def _check_transposed(case: Case) -> str:
    group, channels = case.settings["group"], case.sizes.get("c")
    if isinstance(group, int) and channels and channels % group:
        return f"{channels} channels are no multiple of {group} groups"
    names = ("stride", "padding", "dilation")
    found = {name: spread(case.settings[name], 2, name) for name in names}
    for value in found.values():
        if isinstance(value, str):
            return value
    for axis, size in enumerate(case.dims["x"][2:]):
        side = case.dims["weight"][2 + axis]
        if isinstance(size, int) and isinstance(side, int):
            stride, dilation = int(found["stride"][axis]), int(found["dilation"][axis])
            pads = int(found["padding"][axis]) + int(found["padding"][axis + 2])
            wide = (size - 1) * stride + (side - 1) * dilation + 1
            if size < 1 or side < 1 or wide <= pads:
                return f"padding {pads} leaves nothing of {wide} along axis {axis + 2}"
    return ""


_SIDES: Final = ("w", "h, w", "d, h, w")
_TAPS: Final = ("kw", "kh, kw", "kd, kh, kw")
_OUT: Final = ("ow", "oh, ow", "od, oh, ow")
_OVER: Final = ("one axis, such as time", "the two axes of an image", "the three axes of a volume")
_GROUP: Final = Attribute("group", "int", "groups of channels that do not mix", 1, least=1)


def _convolution(rank: int) -> Kernel:
    sides, taps, out = _SIDES[rank - 1], _TAPS[rank - 1], _OUT[rank - 1]
    return Kernel(
        f"conv{rank}d",
        "product",
        f"The convolution over {_OVER[rank - 1]}",
        "result[n, f, p] = Σ x[n, c, p·stride + t·dilation - padding] · weight[f, c, t] + bias[f]",
        (
            Operand("x", f"n, c, {sides}"),
            Operand("weight", f"f, c/group, {taps}"),
            Operand("bias", "f", optional=True),
        ),
        (Operand("result", f"n, f, {out}"),),
        _BIASED,
        (*window(rank), _GROUP),
        products=True,
        check=_check_convolution,
    )


_DEPTHWISE: Final = Kernel(
    "depthwise_conv2d",
    "product",
    "A convolution of each channel by itself; f is a multiple of c",
    "result[n, f, p] = Σₜ x[n, ⌊f·c/F⌋, p·stride + t·dilation - padding] · weight[f, 0, t]"
    " + bias[f]",
    (
        Operand("x", "n, c, h, w"),
        Operand("weight", "f, 1, kh, kw"),
        Operand("bias", "f", optional=True),
    ),
    (Operand("result", "n, f, oh, ow"),),
    _BIASED,
    window(2),
    products=True,
    fixed=("c",),
    check=_check_depthwise,
)

_TRANSPOSED: Final = Kernel(
    "conv_transpose2d",
    "product",
    "The gradient of a convolution: each pixel adds a patch, so that images grow",
    "result[n, f, p·stride + t·dilation - padding] += x[n, c, p] · weight[c, f, t];  + bias[f]",
    (
        Operand("x", "n, c, h, w"),
        Operand("weight", "c, f/group, kh, kw"),
        Operand("bias", "f", optional=True),
    ),
    (Operand("result", "n, f, oh, ow"),),
    (Types(("T", "T", "T"), ("T",), {"T": FLOATS}),),
    (*window(2), _GROUP),
    check=_check_transposed,
)

KERNELS: Final = (*_MATRICES, *map(_convolution, (1, 2, 3)), _DEPTHWISE, _TRANSPOSED)
