"""What the NPU computes in its own arithmetic, because the common kernels would not be equal to
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from host_daemon.core.device import Operation
from host_daemon.devices.npu import common, integers, rounding
from host_daemon.devices.npu.convolution import convolve, window
from host_daemon.devices.npu.matmul import exact_matmul, self_test
from host_daemon.devices.npu.rounding import Floats
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import Array

_INTEGER: Final = frozenset({"MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"})
_FLOATING: Final = frozenset({"MatMul", "Gemm", "Conv"})


@cache
def prove() -> None:
    """The self-tests of integer products, once per process, best before it forks. Raises
    HostFault.
    """
    self_test()
    common.exact()


def is_product(operation: Operation) -> bool:
    """Whether it is a product that has arithmetic of its own here."""
    return operation.domain in ("", "ai.onnx") and operation.op in _INTEGER | _FLOATING


def compute(
    operation: Operation, inputs: Sequence[Array | None], arithmetic: str | None
) -> Sequence[Array] | None:
    """The outputs, or None where the common kernel is already right, and faster.

    Raises InvalidArgument naming what does not fit, and HostFault where this CPU fails its
    self-test.
    """
    if operation.op in _INTEGER and operation.domain in ("", "ai.onnx"):
        prove()
        if arithmetic != "int4" and _common(operation, inputs):
            return None
    return own(operation, inputs, arithmetic)


def _common(operation: Operation, inputs: Sequence[Array | None]) -> bool:
    """Whether ONNX Runtime's kernel is proven exact for such inputs."""
    right_at = 3 if operation.op.startswith("QLinear") else 1
    left, right = inputs[0], inputs[right_at] if len(inputs) > right_at else None
    if left is None or right is None:
        return False
    if not left.size or not right.size:
        return False  # it gives memory as it was
    # It takes a zero point per row of the left side for no type, per filter for no convolution.
    single = (2, 3) if operation.op == "ConvInteger" else (2,)
    zeros = [inputs[index] for index in single if len(inputs) > index]
    if any(zero is not None and zero.size != 1 for zero in zeros):
        return False
    return (operation.op, str(left.dtype), str(right.dtype)) in common.exact()


def own(
    operation: Operation, inputs: Sequence[Array | None], arithmetic: str | None
) -> Sequence[Array] | None:
    """As ``compute``, and integer operations always computed here."""
    if operation.domain not in ("", "ai.onnx"):
        return None
    given = list(inputs)
    if operation.op in _INTEGER:
        if arithmetic == "int4":
            _check_int4(operation, given)
        try:
            return [_integer(operation, given)]
        except ValueError as error:
            shapes = [None if each is None else list(each.shape) for each in given]
            raise InvalidArgument(f"{operation.op}: shapes {shapes} do not fit") from error
    if operation.op in _FLOATING and arithmetic is not None and given and given[0] is not None:
        if rounding.rounds(arithmetic):
            return [_rounded(operation, given, arithmetic)]
        if arithmetic in ("int8", "int4"):
            raise Unsupported(
                f"{operation.op} of {given[0].dtype} has no scales for {arithmetic}",
                hint="quantise the program: its integer operations carry them",
            )
    return None


def _integer(operation: Operation, given: list[Array | None]) -> Array:
    if operation.op == "QLinearMatMul":
        return integers.quantised_matmul(given)
    if operation.op == "QLinearConv":
        return integers.quantised_convolution(given, operation.attributes)
    left, right, left_zero, right_zero = (*given, *(None,) * 4)[:4]
    if left is None or right is None:
        raise InvalidArgument(f"{operation.op}: an input is missing")
    if operation.op == "ConvInteger":
        attributes = operation.attributes
        return integers.exact_convolution(left, right, left_zero, right_zero, attributes)
    return exact_matmul(left, right, left_zero, right_zero)


def _check_int4(operation: Operation, given: list[Array | None]) -> None:
    """Weights of four bits: they come in int8 and must be in range."""
    index = 3 if operation.op.startswith("QLinear") else 1
    weight = given[index] if len(given) > index else None
    if weight is not None and weight.size and not -8 <= weight.min() <= weight.max() <= 7:
        raise InvalidArgument(
            f"{operation.op}: weights from {weight.min()} to {weight.max()} are not int4",
            hint="int4 holds -8 to 7",
        )


def _rounded(operation: Operation, given: list[Array | None], name: str) -> Array:
    x, w, bias = (*given, None, None)[:3]
    if x is None or w is None:
        raise InvalidArgument(f"{operation.op}: an input is missing")
    kind = x.dtype
    left, right = rounding.operand(x, name), rounding.operand(w, name)
    try:
        # NaN and infinity are values like others: they propagate, and nobody is warned.
        with np.errstate(over="ignore", invalid="ignore"):
            sums = _sums(operation, left, right, bias)
            return np.asarray(rounding.result(sums, name).astype(kind))
    except ValueError as error:
        raise InvalidArgument(
            f"{operation.op}: shapes {list(x.shape)} and {list(w.shape)} do not fit"
        ) from error


def _sums(operation: Operation, left: Floats, right: Floats, bias: Array | None) -> Floats:
    """The product of rounded operands in float32, with its bias. Raises ValueError."""
    attributes = operation.attributes
    if operation.op == "Conv":
        sums: Any = convolve(left, right, window(attributes, left.shape, right.shape))
        if bias is not None:
            sums = sums + bias.astype(np.float32).reshape(-1, *(1,) * (left.ndim - 2))
    elif operation.op == "Gemm":
        left = left.T if attributes.get("transA") else left
        right = right.T if attributes.get("transB") else right
        sums = np.matmul(left, right) * np.float32(attributes.get("alpha", 1.0))
        if bias is not None:
            sums = sums + bias.astype(np.float32) * np.float32(attributes.get("beta", 1.0))
    else:
        sums = np.matmul(left, right)
    return np.asarray(sums, np.float32)
