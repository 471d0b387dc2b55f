"""Inputs cut along the batch: arrays, strings and places in device memory; costs added up."""

from __future__ import annotations

import numpy as np
import pytest

from vaccel import batches, binding
from vaccel.errors import InvalidArgument
from vaccel.loaded_model import Outputs
from vaccel.model import BufferRange, Cost, DType, Port, Strings, Tensor

X = Port("x", DType.INT16, ("n", 3))
TEXT = Port("text", DType.STRING, ("n", 2))
WHOLE = Port("whole", DType.INT16, ("m",))
OUT = Port("y", DType.INT16, ("n",))


def test_every_kind_of_value_is_cut_at_the_same_rows() -> None:
    x = np.arange(15, dtype=np.int16).reshape(5, 3)
    text = np.array([[f"{i}a", f"{i}b"] for i in range(5)], dtype=object)
    values = binding.bind((X, TEXT, WHOLE), (x, text, np.int16([1, 2])), {})
    parts = batches.cut((X, TEXT, WHOLE), values, "n", 2)
    assert len(parts) == 3
    for index, part in enumerate(parts):
        rows = slice(2 * index, 2 * index + 2)
        assert np.array_equal(binding.array_of(part["x"]), x[rows])
        assert binding.array_of(part["text"]).tolist() == text[rows].tolist()
        assert part["whole"] is values["whole"]


def test_a_tensor_in_device_memory_is_cut_by_its_place() -> None:
    value = Tensor(DType.INT16, (5, 3), place=BufferRange(7, 100))
    places = [part["x"] for part in batches.cut((X,), {"x": value}, "n", 2)]
    assert [p.place for p in places] == [BufferRange(7, at) for at in (100, 112, 124)]
    assert [p.shape for p in places] == [(2, 3), (2, 3), (1, 3)]


def test_no_rows_are_one_empty_part() -> None:
    empty = Strings((0, 2), ())
    assert batches.cut((TEXT,), {"text": empty}, "n", 4) == [{"text": empty}]


def test_a_signature_without_a_batch_is_shown() -> None:
    assert batches.symbol_of((X, WHOLE), (OUT,)) == "n"
    for inputs, outputs in (((), (OUT,)), ((X,), (WHOLE,)), ((Port("x", X.dtype, (2,)),), ())):
        with pytest.raises(InvalidArgument, match="has no batch"):
            batches.symbol_of(inputs, outputs)


def test_results_are_put_together_and_costs_added_up() -> None:
    parts = [
        Outputs(
            {"y": np.arange(i)},
            Cost({"array": i}, {"dram": 2}, {"e": 0.5}, {"array": 1}, 10, 100 * i, 100 * i + 7),
        )
        for i in (1, 2)
    ]
    arrays, cost = batches.join(parts)
    assert arrays["y"].tolist() == [0, 0, 1]
    assert cost == Cost({"array": 3}, {"dram": 4}, {"e": 1.0}, {"array": 2}, 20, 100, 207)
