"""What a hostile model is, and what many of them are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from tests.conformance.models import BOOL, F32, graph, model, value
from vaccel.errors import InvalidModel, VaccelError

X, Y = value("x", F32, ["n"]), value("y", F32, ["n"])
Kinds = tuple[type[VaccelError], ...]


@dataclass(frozen=True)
class Hostile:
    name: str
    make: Callable[[], bytes]
    words: tuple[str, ...]
    kinds: Kinds = (InvalidModel,)


class Case(Protocol):
    def __call__(
        self,
        name: str,
        made: Callable[[], ModelProto | bytes],
        *words: str,
        kinds: Kinds = (InvalidModel,),
    ) -> None: ...


def adding_to(cases: list[Hostile]) -> Case:
    """A function that adds a case: its name, its model, and words of the refusal."""

    def case(
        name: str,
        made: Callable[[], ModelProto | bytes],
        *words: str,
        kinds: Kinds = (InvalidModel,),
    ) -> None:
        def make() -> bytes:
            given = made()
            return given if isinstance(given, bytes) else given.SerializeToString()

        cases.append(Hostile(name, make, words, kinds))

    return case


def one(op: str, *inputs: str, **attributes: Any) -> ModelProto:
    """One node named "it" over x[n], with constants c0, c1 ... where inputs say so."""
    domain = attributes.pop("domain", "")
    shape = attributes.pop("shape", ["n"])
    consts = attributes.pop("consts", {})
    kind = attributes.pop("kind", F32)
    out = attributes.pop("out", F32)
    node = helper.make_node(op, inputs or ("x",), ["y"], name="it", domain=domain, **attributes)
    weights = [from_array(np.asarray(array), name) for name, array in consts.items()]
    made = model(graph([node], [value("x", kind, shape)], [value("y", out, None)], weights))
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def weighted(tensor: TensorProto) -> ModelProto:
    node = helper.make_node("Add", ["x", tensor.name], ["y"], name="it")
    return model(graph([node], [X], [Y], [tensor]))


def constant(tensor: TensorProto) -> NodeProto:
    return helper.make_node("Constant", [], ["c"], name="it", value=tensor)


def add(left: str, right: str, out: str, name: str = "sum") -> NodeProto:
    return helper.make_node("Add", [left, right], [out], name=name)


def branching(body: GraphProto) -> ModelProto:
    node = helper.make_node("If", ["flag"], ["y"], name="it", then_branch=body, else_branch=body)
    return model(graph([node], [X, value("flag", BOOL, [])], [Y]))


def sparse(values: TensorProto, indices: TensorProto, dims: list[int]) -> ModelProto:
    made = weighted(from_array(np.ones(2, np.float32), "w"))
    del made.graph.initializer[:]
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))
    return made


def changed(made: ModelProto, change: Callable[[ModelProto], Any]) -> ModelProto:
    change(made)
    return made
