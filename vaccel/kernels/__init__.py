"""The kernels of the compute API: one table, read by the SDK, the command line and the workers."""

from __future__ import annotations

import difflib
from typing import Final

from vaccel import bounds, given
from vaccel.errors import NotFound
from vaccel.kernels import (
    elementwise,
    movement,
    products,
    quantisation,
    sequences,
    sliding,
    statistics,
)
from vaccel.kernels.declaration import Kernel

KERNELS: Final[dict[str, Kernel]] = {
    kernel.name: kernel
    for family in (
        products,
        sliding,
        elementwise,
        statistics,
        sequences,
        movement,
        quantisation,
    )
    for kernel in family.KERNELS
}


def find(name: str) -> Kernel:
    """A kernel by name. Raises NotFound with names that are near."""
    kernel = KERNELS.get(given.text("kernel", name))
    if kernel is None:
        near = difflib.get_close_matches(name[: bounds.NAME_BYTES], KERNELS, 4)
        hint = f"did you mean {', '.join(near)}?" if near else "vaccelctl ops lists them"
        raise NotFound(f"kernel {name[: bounds.NAME_BYTES]!r} does not exist", hint=hint)
    return kernel
