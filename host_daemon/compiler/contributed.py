"""Operators that ONNX Runtime knows and ONNX does not: its schemas, told to ONNX.

ONNX Runtime's own domain, com.microsoft, holds most of them. Some it keeps in ONNX's domain, by
names or from versions on that ONNX has not: ``SimplifiedLayerNormalization``, and
``LayerNormalization`` before opset 17, which its transformer optimiser writes into models of any
opset; ``ThresholdedRelu``, ``Affine`` and others of ONNX's first days. Once ONNX knows the schemas
of the latter, its checker and its inference see such a node as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import onnx
from onnx import TensorProto, TypeProto

DOMAIN: Final = "com.microsoft"
# The only version that there is of it.
VERSION: Final = 1
# Their result has the shape of their first operand, and the type of the operand given here.
_ALIKE: Final = {
    "Affine": 0,
    "ImageScaler": 0,
    "LayerNormalization": 1,
    "MeanVarianceNormalization": 0,
    "ParametricSoftplus": 0,
    "Scale": 0,
    "ScaledTanh": 0,
    "SimplifiedLayerNormalization": 1,
    "ThresholdedRelu": 0,
}
# Of these further results are statistics: one number, a float32, where the first normalises.
_NORMALISATIONS: Final = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})


@cache
def names() -> frozenset[str]:
    """Operators of com.microsoft that the installed ONNX Runtime knows."""
    return frozenset(each.name for each in _schemas() if each.domain == DOMAIN)


@cache
def register() -> None:
    """Tell ONNX the schemas in its own domain that it lacks and ONNX Runtime has kernels for."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kernels = {each.op_name for each in state.get_all_opkernel_def() if not each.domain}
    for schema in list(_schemas()):
        if schema.domain or schema.deprecated or schema.name not in kernels:
            continue
        if not _is_known(schema):
            onnx.defs.register_schema(_translated(schema))


def _schemas() -> Iterator[Any]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    yield from state.get_all_operator_schema()


def _is_known(schema: Any) -> bool:
    try:
        onnx.defs.get_schema(schema.name, schema.since_version, "")
    except onnx.defs.SchemaError:
        return False
    return True


def _translated(schema: Any) -> onnx.defs.OpSchema:
    """A schema of ONNX Runtime's registry as one of ONNX's."""
    kind = onnx.defs.OpSchema
    made = kind(
        schema.name,
        schema.domain,
        schema.since_version,
        inputs=[_port(each) for each in schema.inputs],
        outputs=[_port(each) for each in schema.outputs],
        type_constraints=[
            (each.type_param_str, list(each.allowed_type_strs), "")
            for each in schema.type_constraints
        ],
        attributes=[
            kind.Attribute(name, _same(kind.AttrType, each.type), required=each.required)
            for name, each in schema.attributes.items()
        ],
    )
    made.set_type_and_shape_inference_function(lambda context: _infer(schema.name, context))
    return made


def _port(port: Any) -> onnx.defs.OpSchema.FormalParameter:
    option = _same(onnx.defs.OpSchema.FormalParameterOption, port.option)
    return onnx.defs.OpSchema.FormalParameter(
        port.name, port.typeStr, param_option=option, is_homogeneous=port.isHomogeneous
    )


def _same(kind: Any, value: Any) -> Any:
    """A value of one of ONNX Runtime's enumerations as that of ONNX, which has the same numbers."""
    return kind(int(value))


def _infer(op: str, context: Any) -> None:
    """Types of results, and shapes where they are an operand's."""
    first = _tensor(context, 0)
    like = _tensor(context, _ALIKE.get(op, 0))
    if first is None or like is None or not context.get_num_outputs():
        return
    result = TypeProto()
    result.tensor_type.elem_type = like.elem_type
    shaped = first.HasField("shape")
    if op in _ALIKE and shaped:
        result.tensor_type.shape.CopyFrom(first.shape)
    context.set_output_type(0, result)
    if op not in _NORMALISATIONS:
        return
    statistics = TypeProto()
    statistics.tensor_type.elem_type = TensorProto.FLOAT
    if shaped:
        attribute = context.get_attribute("axis")
        rank = len(first.shape.dim)
        axis = int(attribute.i) if attribute is not None else -1
        statistics.tensor_type.shape.CopyFrom(first.shape)
        for dim in statistics.tensor_type.shape.dim[axis if axis >= 0 else max(0, axis + rank) :]:
            dim.dim_value = 1
    for index in range(1, context.get_num_outputs()):
        context.set_output_type(index, statistics)


def _tensor(context: Any, index: int) -> TypeProto.Tensor | None:
    if index >= context.get_num_inputs():
        return None
    kind = context.get_input_type(index)
    return kind.tensor_type if kind is not None and kind.HasField("tensor_type") else None
