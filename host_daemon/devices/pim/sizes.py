"""How large the operands of a card can be whose DRAM computes: no larger than any card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from host_daemon.core.device import Operation
from host_daemon.devices.oracle import integer
from host_daemon.devices.work import size
from vaccel import bounds
from vaccel.errors import InvalidArgument

# Bytes of a value in the banks: fp16 or bf16.
_VALUE: Final = 2
_HINT: Final = f"a card holds at most {bounds.PIM_BYTES} bytes"


def check(operation: Operation) -> None:
    """Raises InvalidArgument naming an input or output of an operation that no card could hold."""
    for what, tensors in (("input", operation.inputs), ("output", operation.outputs)):
        for index, each in enumerate(tensors):
            if each is not None and size(each) > bounds.PIM_BYTES:
                raise InvalidArgument(
                    f"{operation.op}: {what} {index} has shape {list(each[1])}, {size(each)} bytes",
                    hint=_HINT,
                )


def matrix(row: Mapping[str, str]) -> tuple[int, int]:
    """(outputs, inputs) of a row of an oracle, whose weights a card could hold.

    Raises InvalidArgument naming column and value.
    """
    outputs, inputs = vector(row), vector(row, "in_dim")
    if outputs * inputs * _VALUE > bounds.PIM_BYTES:
        raise InvalidArgument(
            f"columns out_dim = {outputs}, in_dim = {inputs}: weights of"
            f" {outputs * inputs * _VALUE} bytes",
            hint=_HINT,
        )
    return outputs, inputs


def vector(row: Mapping[str, str], column: str = "out_dim") -> int:
    """Elements that a column of a row gives, as many as a card could hold. Raises the same."""
    return integer(row, column, bounds.PIM_BYTES // _VALUE)
