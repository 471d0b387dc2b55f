"""Opsets of models: which a model is of, and another one for it."""

from __future__ import annotations

from typing import Final

from onnx import ModelProto

from host_daemon.compiler import blame, weights
from host_daemon.compiler.weights import Weights
from vaccel.errors import Unsupported

# The IR version from which on an initializer need not be an input.
_CONSTANTS: Final = 4


def allow_constants(model: ModelProto) -> None:
    """Read a model of IR version 3 whose weights are no inputs, as its exporter meant it.

    Since version 4 they need not be; some exporters left them out before.
    """
    inputs = {value.name for value in model.graph.input}
    if any(tensor.name not in inputs for tensor in model.graph.initializer):
        model.ir_version = max(model.ir_version, _CONSTANTS)


def is_of(model: ModelProto, least: int) -> bool:
    """Whether a model is of this opset of ONNX, or of a newer one."""
    return all(o.version >= least for o in model.opset_import if o.domain in ("", "ai.onnx"))


def converted(model: ModelProto, apart: Weights, opset: int) -> ModelProto:
    """A model of an older opset in this one; what was given is not to be used any more.

    Raises Unsupported where ONNX's converter cannot.
    """
    from onnx import version_converter

    weights.unmark(model)
    try:
        made = version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, MemoryError) as fault:
        raise Unsupported(
            f"model is of an opset before {opset} and cannot be converted to it:"
            f" {blame.plain(str(fault))}",
            hint="export it with a newer opset",
        ) from fault
    weights.mark(made, apart)
    return made
