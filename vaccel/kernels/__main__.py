"""``python -m vaccel.kernels`` prints the tables of ``docs/kernels.md``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from vaccel.kernels import KERNELS
from vaccel.kernels.declaration import Kernel


def tables() -> Iterator[str]:
    """Lines of Markdown: a table for each family, in the order of the kernels."""
    for family, kernels in groupby(KERNELS.values(), lambda kernel: kernel.family):
        yield f"### {family.capitalize()}"
        yield ""
        yield "| kernel | computes | types |"
        yield "| --- | --- | --- |"
        for kernel in kernels:
            yield _row(kernel)
        yield ""


def _row(kernel: Kernel) -> str:
    types = "; ".join(map(str, kernel.types))
    cells = (f"`{kernel.signature}`", kernel.formula, types)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print("\n".join(tables()))
