"""What the estimate of a launch is made from: shapes, and the few values that decide a cost."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from host_daemon.compiler.program import CompiledProgram
from host_daemon.worker.contexts import Context
from host_daemon.worker.launch import check_names, check_value, object_of
from vaccel.binding import check_symbols
from vaccel.model import Shape, Strings, Tensor, Value


def estimated(
    owner: Context, program: CompiledProgram, arguments: Mapping[str, Value]
) -> tuple[dict[str, Shape], dict[str, Any]]:
    """Shapes of tensors, and private copies of those arguments whose values steer or contain
    tensors.
    """
    check_names(program, arguments)
    by_name = {port.name: port for port in program.inputs}
    shapes: dict[str, Shape] = {}
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        check_value(by_name[name], value)
    check_symbols(by_name, arguments)
    for name, value in arguments.items():
        if not isinstance(value, Tensor | Strings):
            values[name] = deepcopy(object_of(name, value, owner.buffers))
            continue
        shapes[name] = value.shape
        has_data = isinstance(value, Strings) or value.data is not None or value.place is not None
        if name in program.steering and has_data:
            values[name] = object_of(name, value, owner.buffers).copy()
    return shapes, values


def bytes_of(program: CompiledProgram, name: str, shape: Shape) -> int:
    """Bytes of an input of some shape, as an estimate holds it."""
    dtype = next(port.dtype for port in program.inputs if port.name == name)
    return int(np.prod([float(dim) for dim in shape])) * max(dtype.itemsize, 8)
