"""Arguments against a signature: what is wrong is shown beside what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vaccel import binding
from vaccel.errors import InvalidArgument
from vaccel.model import BufferRange, DType, Port, Strings, Tensor

X = Port("x", DType.FLOAT32, ("batch", 4))
FACTOR = Port("factor", DType.FLOAT32, (1,), optional=True)
TEXT = Port("text", DType.STRING, ("n",))
ANY = Port("any", DType.INT64, None)
ONES = np.ones((2, 4), np.float32)

WRONG: dict[str, tuple[tuple[Port, ...], tuple[Any, ...], dict[str, Any], tuple[str, ...]]] = {
    "unknown name": ((X,), (), {"z": ONES}, ("'z'", "x: float32[batch, 4]")),
    "missing": ((X, FACTOR), (), {"factor": [1.0]}, ("'x'", "missing", "given factor: list")),
    "missing beside an array": ((X, ANY), (ONES,), {}, ("'any'", "given x: float32[2, 4]")),
    "one symbol of two sizes": (
        (X, Port("y", DType.INT64, ("batch",))),
        (ONES, [1, 2, 3]),
        {},
        ("'y'", "y: int64[batch], given [3]", "batch is 2 in input 'x'", "given [2, 4]"),
    ),
    "a symbol twice in one": (
        (Port("s", DType.FLOAT32, ("n", "n")),),
        (ONES,),
        {},
        ("s: float32[n, n], given [2, 4]", "axis 1 is 4", "n is 2"),
    ),
    "too many": ((X,), (ONES, ONES), {}, ("2 inputs", "x: float32[batch, 4]")),
    "twice": ((X,), (ONES,), {"x": ONES}, ("'x'", "by position and by name")),
    "dtype": ((X,), (ONES.astype(np.float64),), {}, ("float32", "float64[2, 4]")),
    "rank": ((X,), (ONES[0],), {}, ("rank 2", "float32[4]", "rank 1")),
    "shape": ((X,), (np.ones((2, 5), np.float32),), {}, ("axis 1", "must be 4, not 5")),
    "text for numbers": ((X,), ("hello",), {}, ("'x'", "float32[batch, 4]")),
    "texts that are numbers": ((X,), ([["nan", "1", "2", "3"]],), {}, ("given list", "text")),
    "bytes for numbers": ((X,), (b"1",), {}, ("given bytes", "text")),
    "ragged": ((X,), ([[1.0], [1.0, 2.0]],), {}, ("float32[batch, 4], given list",)),
    "fractions": ((ANY,), ([1.5, 2],), {}, ("int64[…], given list", "1.5 is no whole number")),
    "no number": ((ANY,), ([1.0, float("nan")],), {}, ("given list", "nan is no whole number")),
    "too large": ((ANY,), ([1 << 70],), {}, ("'any'", "int64[…]")),
    "no such dtype": (
        (ANY,),
        (np.zeros(2, "datetime64[s]"),),
        {},
        ("'any': expected int64, given datetime64[s][2]",),
    ),
    "complex": ((X,), (ONES.astype(np.complex64),), {}, ("complex64",)),
    "objects": ((X,), (np.array([None]),), {}, ("expected float32, given object[1]",)),
    "bytes for text": ((TEXT,), ([b"abc"],), {}, ("'text'", "bytes")),
    "numbers for text": ((TEXT,), ([1, 2],), {}, ("'text'", "int")),
    "a place of another dtype": (
        (X,),
        (Tensor(DType.INT8, (2, 4), place=BufferRange(1)),),
        {},
        ("int8[2, 4]",),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_shown(case: str) -> None:
    ports, positional, named, words = WRONG[case]
    with pytest.raises(InvalidArgument) as caught:
        binding.bind(ports, positional, named)
    text = str(caught.value)
    assert "\n" not in text and caught.value.hint
    for word in words:
        assert word in text


def test_python_values_take_the_inputs_dtype() -> None:
    bound = binding.bind((X, FACTOR), ([[1, 2, 3, 4]],), {"factor": [2]})
    assert bound["x"] == Tensor(DType.FLOAT32, (1, 4), data=np.float32([[1, 2, 3, 4]]).tobytes())
    assert binding.bind((X, FACTOR), (ONES,), {}).keys() == {"x"}
    whole = binding.bind((ANY,), ([1.0, True, -3],), {})["any"]
    assert whole == Tensor(DType.INT64, (3,), data=np.int64([1, 1, -3]).tobytes())
    assert binding.bind((ANY,), ([],), {})["any"] == Tensor(DType.INT64, (0,), data=b"")


def test_arrays_of_any_layout_travel_in_c_order() -> None:
    big_endian = np.arange(8, dtype=">f4").reshape(2, 4)
    turned = np.asfortranarray(np.arange(8, dtype=np.float32).reshape(2, 4))
    wanted = np.arange(8, dtype=np.float32).tobytes()
    for array in (big_endian, turned, turned.T.copy().T):
        value = binding.to_value(X, array)
        assert isinstance(value, Tensor) and value.data is not None
        assert bytes(value.data) == wanted
    scalar = binding.tensor_of(np.array(3, np.int8))
    assert (scalar.shape, scalar.nbytes) == ((), 1)
    empty = binding.to_value(X, np.ones((0, 4), np.float32))
    assert isinstance(empty, Tensor) and len(empty.data or b"") == 0


def test_text_travels_as_it_is() -> None:
    value = binding.to_value(TEXT, np.array(["a", "wörld"]))
    assert value == Strings((2,), ("a", "wörld"))
    assert binding.array_of(value).tolist() == ["a", "wörld"]


def test_a_tensor_elsewhere_has_no_bytes_here() -> None:
    with pytest.raises(InvalidArgument, match="no bytes here"):
        binding.array_of(Tensor(DType.INT8, (1,), place=BufferRange(3)))
