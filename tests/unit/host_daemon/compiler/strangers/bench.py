"""Models as a stranger brings them, compared with ONNX Runtime by itself, or ONNX's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator

from host_daemon.compiler.program import Target, compile_model
from host_daemon.compiler.sessions import open_session, options, run
from vaccel.errors import VaccelError

F32, F64, I32, I64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64
BOOL, TEXT, U8, I8 = TensorProto.BOOL, TensorProto.STRING, TensorProto.UINT8, TensorProto.INT8
value = helper.make_tensor_value_info
Feeds = Mapping[str, Any]
Close = tuple[float, float]
CLOSE: Close = (1e-4, 1e-5)


class Draft:
    """A graph as it grows. Weights are drawn from a seed, so that a model is always the same."""

    def __init__(self, dtype: Any = np.float32) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, TensorProto] = {}
        self._rng = np.random.default_rng(7)
        self._dtype = dtype

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """A node with one result."""
        out = out or f"{op}_{len(self.nodes)}"
        return self.give(op, inputs, [out], **attributes)[0]

    def give(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> Sequence[str]:
        """A node with several results."""
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs

    def const(self, array: Any, dtype: Any = None) -> str:
        """A constant of a few numbers: floats of the draft's type, or int64."""
        found = np.asarray(array)
        kind = dtype or (self._dtype if found.dtype.kind == "f" else np.int64)
        return self.keep(found.astype(kind))

    def keep(self, weight: np.ndarray[Any, Any] | TensorProto) -> str:
        """A weight as it is."""
        name = f"w{len(self.weights)}"
        made = from_array(weight) if isinstance(weight, np.ndarray) else weight
        made.name = name
        self.weights[name] = made
        return name

    def weight(self, *shape: int, scale: float = 0.1, base: float = 0.0) -> str:
        """A weight drawn at random."""
        return self.keep((base + scale * self._rng.standard_normal(shape)).astype(self._dtype))

    def model(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        opset: int = 17,
        functions: Sequence[FunctionProto] = (),
        **domains: int,
    ) -> ModelProto:
        """The model; outputs are names of float32, or values."""
        shown = [value(each, F32, None) if isinstance(each, str) else each for each in outputs]
        graph = helper.make_graph(
            self.nodes, "main", inputs, shown, initializer=list(self.weights.values())
        )
        imports = [helper.make_opsetid("", opset)]
        imports += [helper.make_opsetid(n.replace("_", "."), v) for n, v in domains.items()]
        version = 10 if opset > 20 else 8
        return helper.make_model(
            graph, opset_imports=imports, ir_version=version, functions=list(functions)
        )


def agrees(
    made: ModelProto, feeds: Feeds | Sequence[Feeds], target: Target, close: Close = CLOSE
) -> None:
    """Every launch, and the same one again, gives what ONNX Runtime gives by itself."""
    data = made.SerializeToString()
    names = [each.name for each in made.graph.output]
    program = compile_model(data, target)
    for given in [feeds] if isinstance(feeds, Mapping) else feeds:
        expected = _expected(made, data, names, given)
        for _ in range(2):
            found = program.run(given, names)
            for name, wanted in zip(names, expected, strict=True):
                same(found.results[name], wanted, close)
        assert found.cost.critical_cycles or not made.graph.node


def _expected(made: ModelProto, data: bytes, names: list[str], given: Feeds) -> list[Any]:
    try:
        return run(open_session(data, options(1)), names, given)
    except VaccelError:
        return list(ReferenceEvaluator(made).run(names, dict(given)))


def same(found: Any, wanted: Any, close: Close = CLOSE) -> None:
    """Compare values of any kind, to ``close``: relative, absolute."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        same(list(found.values()), [wanted[key] for key in found], close)
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other, close)
    elif wanted is None or isinstance(wanted, str):
        assert found == wanted
    else:
        one, other = np.asarray(found), np.asarray(wanted)
        assert one.shape == other.shape
        if other.dtype.kind in "OU":
            assert one.tolist() == other.tolist()
        else:
            assert one.dtype == other.dtype
            rtol, atol = close
            np.testing.assert_allclose(one.astype(float), other.astype(float), rtol, atol)
