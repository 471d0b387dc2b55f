"""Models whose tensors are of sizes that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto
from onnx.numpy_helper import from_array

from tests.conformance.models import F32, I64, TEXT
from tests.integration.hostile_models.hostile import Hostile, adding_to, one, sparse, weighted
from vaccel.errors import Exhausted, InvalidModel


def resized(dims: list[int], kind: int = F32, **data: Any) -> ModelProto:
    return weighted(TensorProto(name="w", data_type=kind, dims=dims, **data))


CASES: list[Hostile] = []
case = adding_to(CASES)

case("negative", lambda: resized([-2, -1], raw_data=bytes(8)), "'w'", "[-2, -1]")
case("overflow", lambda: resized([1 << 32, 1 << 32], raw_data=bytes(8)), "'w'")
case("largest", lambda: resized([(1 << 63) - 1], raw_data=bytes(8)), "'w'")
case("overflow, large", lambda: resized([1 << 32, 1 << 32], raw_data=bytes(4096)), "'w'", "4096")
case("too little", lambda: resized([3], raw_data=bytes(8)), "'w'", "12 bytes")
case("too much", lambda: resized([3], raw_data=bytes(4096)), "'w'", "12 bytes", "4096")
case("rank", lambda: resized([1] * 40, raw_data=bytes(4)), "'w'")
case("few floats", lambda: resized([9], float_data=[1.0]), "'w'")
case("few integers", lambda: resized([9], I64, int64_data=[1]), "'w'")
case("few strings", lambda: resized([1 << 40], TEXT, string_data=[b"a"]), "'w'")
case("type 99", lambda: resized([1], 99, raw_data=bytes(4)), "'w'")
case("type 0", lambda: resized([1], 0, raw_data=bytes(4)), "'w'")
case(
    "sparse index",
    lambda: sparse(
        from_array(np.ones(1, np.float32), "w"), from_array(np.array([1 << 40]), "at"), [2]
    ),
    "'at'",
)
case(
    "sparse size",
    lambda: sparse(
        from_array(np.ones(1, np.float32), "w"), from_array(np.array([0]), "at"), [1 << 40]
    ),
    "'w'",
    kinds=(InvalidModel, Exhausted),
)
for op, consts in (
    ("ConstantOfShape", {"c": np.array([1 << 40])}),
    ("ConstantOfShape", {"c": np.array([1 << 32, 1 << 32])}),
    ("Range", {"c": np.int64(0), "d": np.int64(1 << 42), "e": np.int64(1)}),
):
    case(
        f"{op} {next(iter(consts.values()))}",
        lambda op=op, consts=consts: one(
            op, *consts, consts=consts, out=F32 if op[0] == "C" else I64
        ),
        "'it'",
        "bytes",
        kinds=(Exhausted, InvalidModel),
    )
for op, more in (("Expand", (1 << 40,)), ("Tile", (1 << 40,)), ("Pad", (0, 1 << 40))):
    case(
        f"{op} {more}",
        lambda op=op, more=more: one(op, "x", "c", shape=[1], consts={"c": np.array(more)}),
        "'it'",
        "bytes",
        kinds=(Exhausted, InvalidModel),
    )
