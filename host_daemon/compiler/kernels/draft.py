"""A kernel's graph while it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from host_daemon.core.device import ARITHMETIC
from vaccel.kernels import declaration
from vaccel.kernels.declaration import Kernel, Setting
from vaccel.model import Array, DType, Port

# What a current ONNX Runtime and the oldest supported one both know.
_OPSET: Final = 21
# The IR version that came with an opset.
_IR: Final = {21: 10, 23: 11, 24: 12}


class Draft:
    """Operands, settings and result types are given; nodes and constants are added."""

    def __init__(
        self,
        kernel: Kernel,
        ports: Mapping[str, Port],
        settings: Mapping[str, Setting],
        results: Mapping[str, DType],
    ) -> None:
        self.kernel = kernel
        self.ports = ports
        self.settings = settings
        self.results = results
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.opset = _OPSET

    @property
    def ir(self) -> int:
        """The IR version to write."""
        return _IR[self.opset]

    def state(self) -> None:
        """Have the last node computed in the arithmetic that is asked for, if any is."""
        if asked := str(self.settings.get(declaration.ARITHMETIC, "")):
            self.nodes[-1].metadata_props.add(key=ARITHMETIC, value=asked)

    def given(self, *names: str) -> list[str]:
        """Operands by name, "" for those left out, without a tail of these."""
        found = [name if name in self.ports else "" for name in names]
        while found and not found[-1]:
            found.pop()
        return found

    def constant(self, name: str, values: Array) -> str:
        """A constant by name, which must not be an operand's."""
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """A constant of int64."""
        return self.constant(name, np.array(values, np.int64))

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any
    ) -> None:
        """A node; without outputs it gives the kernel's results."""
        given = list(outputs) or list(self.results)
        name = f"{self.kernel.name}/{outputs[0]}" if outputs else self.kernel.name
        self.nodes.append(helper.make_node(op, list(inputs), given, name=name, **attributes))

    def ints(self, name: str) -> tuple[int, ...]:
        """A setting of integers."""
        value = self.settings[name]
        return value if isinstance(value, tuple) else ()

    def integer(self, name: str) -> int:
        """A setting that is an integer or a bool."""
        value = self.settings[name]
        return int(value) if isinstance(value, (int, float)) else 0

    def number(self, name: str) -> float:
        """A setting that is a number."""
        value = self.settings[name]
        return float(value) if isinstance(value, (int, float)) else 0.0

    def dtype(self, name: str) -> DType:
        """An operand's type."""
        return self.ports[name].dtype

    def size(self, name: str, axis: int) -> int | None:
        """An operand's dimension, where it is known."""
        shape = self.ports[name].shape
        dim = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
        return dim if isinstance(dim, int) else None

    def rank(self, name: str) -> int | None:
        """An operand's rank, where it is known."""
        shape = self.ports[name].shape
        return None if shape is None else len(shape)
