"""One systolic array that overlaps nothing: SCALE-Sim 3.0.0, stall-free, to the cycle.

An R x C array takes the operand that stays in folds of R x C, and streams the others past it
(Samajdar et al., SCALE-Sim, arXiv 1811.02883, and A systematic methodology for characterizing
scalability of DNN accelerators using SCALE-Sim, ISPASS 2020). For M x K by K x N::

    dataflow            stays     folds                   cycles per fold
    output-stationary   M x N     ceil(M/R) * ceil(N/C)   K + R + C - 2
    weight-stationary   K x N     ceil(K/R) * ceil(N/C)   M + 2R + C - 2
    input-stationary    K x M     ceil(K/R) * ceil(M/C)   N + 2R + C - 2

Loading what stays costs the second R of ws and is. The paper adds R to os for draining the sums;
the program does not. What the program prints is the 0-based index of the last cycle: one less
than the count.
"""

from __future__ import annotations

from vaccel.errors import InvalidArgument

# (M, N, K) of an M x K by K x N product.
Shape = tuple[int, int, int]


def folding(dataflow: str, shape: Shape) -> tuple[int, int, int]:
    """(along rows, along columns, streamed): which loop of the GEMM lies where."""
    m, n, k = shape
    if dataflow == "ws":
        return k, n, m
    if dataflow == "os":
        return m, n, k
    if dataflow == "is":
        return k, m, n
    raise InvalidArgument(f"dataflow {dataflow!r} is unknown", hint="one of os, ws, is")


def cycles(dataflow: str, shape: Shape, array: tuple[int, int]) -> int:
    """Cycles of one GEMM on one array, nothing overlapped between folds."""
    along_rows, along_columns, streamed = folding(dataflow, shape)
    rows, columns = array
    folds = -(-along_rows // rows) * -(-along_columns // columns)
    load = 0 if dataflow == "os" else rows
    return folds * (streamed + load + rows + columns - 2)


def scalesim_total_cycles(dataflow: str, shape: Shape, array: tuple[int, int]) -> int:
    """What SCALE-Sim 3.0.0 reports as total cycles."""
    return cycles(dataflow, shape, array) - 1


def convolved(size: int, kernel: int, stride: int) -> int:
    """Output size along one axis of a padded input, as SCALE-Sim counts it: ceil((H - f + s) /
    s).
    """
    return -(-(size - kernel + stride) // stride)
