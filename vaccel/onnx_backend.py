"""ONNX's backend interface over a virtual function, for ``onnx.backend.test`` and its like.

>>> import vaccel.onnx_backend as backend
>>> backend.run_model(model, [x], device="CPU")

``device`` names a VF: ``VF``, ``VF@ADDRESS`` or ``@ADDRESS``, as ``vaccel.open`` takes them. "CPU",
ONNX's own default, and "" are the VF that ``vaccel.open()`` finds. A VF is opened once, and stays
open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TypeProto, helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

import vaccel
from vaccel.errors import InvalidArgument, VaccelError
from vaccel.model import Cost

_DEFAULTS: Final = ("", "CPU", "CPU:0")
_FOREIGN: Final = ("CUDA", "GPU", "NPU", "TPU", "ROCM")
_opened: Final[dict[str, vaccel.Device]] = {}


class VaccelRep(BackendRep):
    """A model on a VF. ``cost`` is what the last run would have cost the device."""

    def __init__(self, model: vaccel.Model) -> None:
        self.model = model
        self.cost = Cost()

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in the model's order, by name too. ``inputs`` in its order, or a dict by name."""
        if isinstance(inputs, Mapping):
            given = self.model(**{str(name): _plain(each) for name, each in inputs.items()})
        else:
            listed = inputs if isinstance(inputs, list | tuple) else [inputs]
            given = self.model(*(_plain(each) for each in listed))
        self.cost = given.cost
        names = [port.name for port in self.model.outputs]
        outputs: tuple[Any, ...] = namedtupledict("Outputs", names)(*(given[n] for n in names))
        return outputs

    def close(self) -> None:
        """Forget the model on the VF."""
        with suppress(VaccelError):
            self.model.unload()


class VaccelBackend(Backend):
    """The interface that ``onnx.backend.base.Backend`` describes."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the VF compiles the model."""
        try:
            cls.prepare(model, device, **kwargs).close()
        except VaccelError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> VaccelRep:
        """Load a model. Raises the errors of ``vaccel``, such as InvalidModel and Unsupported."""
        return VaccelRep(_device(device).load(model.SerializeToString()))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Load a model, run it once, and forget it."""
        prepared = cls.prepare(model, device, **kwargs)
        try:
            return prepared.run(inputs)
        finally:
            prepared.close()

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays, of ``opset_version`` or the newest opset.

        Raises InvalidArgument where inputs and node differ in number.
        """
        names = [name for name in node.input if name]
        arrays = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
        if len(arrays) != len(names):
            raise InvalidArgument(
                f"node {node.op_type} takes {len(names)} inputs: {len(arrays)} given"
            )
        values = [
            helper.make_value_info(name, _type_of(each))
            for name, each in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "node", values, outputs)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        opsets = [helper.make_opsetid("", version)]
        if node.domain not in ("", "ai.onnx"):
            opsets.append(helper.make_opsetid(node.domain, kwargs.get("domain_version", 1)))
        model = helper.make_model(graph, opset_imports=opsets)
        return cls.run_model(onnx.shape_inference.infer_shapes(model), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether such a VF can be opened here."""
        if device.partition(":")[0] in _FOREIGN:
            return False
        try:
            _device(device)
        except VaccelError:
            return False
        return True


def _device(name: str) -> vaccel.Device:
    """A VF by name, opened once."""
    if name not in _opened:
        vf, _, address = ("" if name in _DEFAULTS else name).partition("@")
        _opened[name] = vaccel.open(vf, address=address)
    return _opened[name]


def close() -> None:
    """Close what was opened; later calls open anew."""
    while _opened:
        with suppress(VaccelError):
            _opened.popitem()[1].close()


def _plain(value: Any) -> Any:
    """An input as the SDK takes it: ONNX's tests give NumPy scalars for tensors of rank 0."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def _type_of(value: Any) -> TypeProto:
    if isinstance(value, list | tuple):
        if not value:
            raise InvalidArgument("an empty sequence says nothing of its type")
        return helper.make_sequence_type_proto(_type_of(value[0]))
    array = np.asarray(value)
    kind = np.dtype(object) if array.dtype.kind in "UO" else array.dtype
    element = helper.np_dtype_to_tensor_dtype(kind)
    return helper.make_tensor_type_proto(element, array.shape)


is_compatible = VaccelBackend.is_compatible
prepare = VaccelBackend.prepare
run = VaccelBackend.run_model
run_model = VaccelBackend.run_model
run_node = VaccelBackend.run_node
supports_device = VaccelBackend.supports_device
