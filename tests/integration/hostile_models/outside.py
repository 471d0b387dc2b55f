"""Models that refer to data outside of them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from tests.conformance.models import F32, I64, graph, model, value
from tests.integration.hostile_models.hostile import (
    Hostile,
    X,
    Y,
    add,
    adding_to,
    branching,
    constant,
    one,
    sparse,
    weighted,
)


def outside(location: str | None, **more: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=F32, dims=[2], data_location=TensorProto.EXTERNAL)
    if location is not None:
        tensor.external_data.add(key="location", value=location)
    for key, text in more.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def in_constant() -> ModelProto:
    return model(graph([constant(outside("../w")), add("x", "c", "y")], [X], [Y]))


def in_branch() -> ModelProto:
    inner = graph([add("x", "w", "inner")], [], [value("inner", F32, None)], [outside("C:\\w")])
    return branching(inner)


def in_function() -> ModelProto:
    body = [constant(outside("file:///etc/shadow")), add("i", "c", "o")]
    made = one("f", domain="mine")
    ids = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("mine", "f", ["i"], ["o"], body, ids))
    return made


def sparse_outside(which: str) -> ModelProto:
    values = from_array(np.ones(2, np.float32), "w")
    indices = from_array(np.array([0, 1], np.int64), "at")
    if which == "values":
        values = outside("/etc/passwd")
    else:
        indices = outside("/etc/passwd")
        indices.data_type = I64
    return sparse(values, indices, [2])


def in_tensor_list() -> ModelProto:
    made = one("Relu")
    made.graph.node[0].attribute.add(name="more", type=9, tensors=[outside("/dev/zero")])
    return made


CASES: list[Hostile] = []
case = adding_to(CASES)

for place in (
    "/etc/shadow", "../../../../etc/shadow", "http://host/w", "file:///etc/shadow", "\\\\host\\w",
    "/proc/self/mem", "/dev/zero", "w\0/etc/shadow", "*/_ORT_MEM_ADDR_/*", "\0vaccel", "./link",
):  # fmt: skip
    case(f"location {place!r}", lambda place=place: weighted(outside(place)), "'w'", "outside")
case("no location", lambda: weighted(outside(None)), "'w'", "outside")
case("span", lambda: weighted(outside("w", offset="0", length=str(1 << 62))), "'w'", "outside")
case("outside, in a constant", in_constant, "'it'", "outside")
case("outside, in a branch", in_branch, "'w'", "outside")
case("outside, in a function", in_function, "'it'", "outside")
case("outside, sparse values", lambda: sparse_outside("values"), "passwd")
case("outside, sparse indices", lambda: sparse_outside("indices"), "passwd")
case("outside, in a list", in_tensor_list, "'it'", "/dev/zero")
