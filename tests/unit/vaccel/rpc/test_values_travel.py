"""Values of every kind travel as they are; hostile ones are refused at the edge, by name."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from vaccel import binding, bounds
from vaccel.errors import InvalidArgument
from vaccel.model import DType, Items, Nothing, Port, Strings, Table, Tensor, Value
from vaccel.rpc.convert import port_of, to_port
from vaccel.rpc.convert_values import to_value, value_of
from vaccel.v1 import compute_pb2, types_pb2


def tensor(array: np.ndarray) -> Tensor:
    made = binding.tensor_of(array)
    return Tensor(made.dtype, made.shape, data=bytes(made.data or b""))


VALUES: dict[str, Value] = {
    "nothing": Nothing(),
    "items": Items((tensor(np.arange(3)), tensor(np.ones((2, 2), np.float16)))),
    "empty": Items(()),
    "nested": Items((Items((tensor(np.arange(2)),)), Items(()))),
    "table": Table(tensor(np.arange(2)), Strings((2,), ("a", "b"))),
    "bf16": tensor(np.array([1.5, -2], ml_dtypes.bfloat16)),
    "int4": tensor(np.array([-8, 7], ml_dtypes.int4)),
    "complex": tensor(np.array([1 + 2j], np.complex64)),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_travel(value: Value) -> None:
    message = types_pb2.Value.FromString(to_value(value).SerializeToString())
    assert value_of(message, "x") == value


@pytest.mark.parametrize("dtype", DType)
def test_every_element_type_has_a_size_and_a_numpy_type(dtype: DType) -> None:
    assert dtype.itemsize == -(-dtype.bits // 8)
    if dtype is not DType.STRING:
        assert dtype.numpy.itemsize == dtype.itemsize
        assert dtype.numpy.name == dtype.value
        array = np.zeros((2, 3), dtype.numpy)
        sent = binding.tensor_of(array)
        assert (sent.dtype, sent.nbytes) == (dtype, 6 * dtype.itemsize)
        assert binding.array_of(sent).dtype == dtype.numpy


def test_ports_travel_with_their_containers() -> None:
    port = Port("x", DType.FLOAT32, ("n", 3), containers=("optional", "sequence"))
    assert port_of(to_port(port)) == port
    assert str(port) == "x: optional of sequence of float32[n, 3]"
    table = Port("t", DType.FLOAT32, (None,), containers=("sequence", "map of int64"))
    assert str(table) == "t: sequence of map of int64 to float32[?]"


def deep(levels: int) -> types_pb2.Value:
    value = types_pb2.Value(nothing=types_pb2.Nothing())
    for _ in range(levels):
        value = types_pb2.Value(items=types_pb2.Items(values=[value]))
    return value


def many(count: int) -> types_pb2.Value:
    nothing = types_pb2.Value(nothing=types_pb2.Nothing())
    half = types_pb2.Value(items=types_pb2.Items(values=[nothing] * (count // 2)))
    return types_pb2.Value(items=types_pb2.Items(values=[half, half]))


def table(keys: Value, values: Value) -> types_pb2.Value:
    return types_pb2.Value(table=types_pb2.Table(keys=to_value(keys), values=to_value(values)))


HOSTILE = {
    "too deep": (deep(bounds.VALUE_DEPTH + 1), "nest deeper than 4"),
    "too many": (many(bounds.ITEMS_PER_VALUE), "items are more than"),
    "nothing at all": (types_pb2.Value(), "no value"),
    "nothing within": (types_pb2.Value(items=types_pb2.Items(values=[types_pb2.Value()])), "no v"),
    "table of items": (table(Items(()), Items(())), "tensors or strings"),
    "uneven table": (table(tensor(np.arange(2)), tensor(np.arange(3))), r"\[2\] and values of \[3"),
    "table of rank 2": (table(tensor(np.ones((1, 1))), tensor(np.ones((1, 1)))), "keys of shape"),
    "short int4": (
        types_pb2.Value(tensor=types_pb2.Tensor(dtype="int4", shape=[4], inline=b"12")),
        "2 bytes of data, but",
    ),
}


@pytest.mark.parametrize(("message", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_values_are_refused(message: types_pb2.Value, words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^argument x: .*{words}"):
        value_of(message, "argument x")


def test_hostile_ports_are_refused() -> None:
    message = compute_pb2.Port(name="x", dtype="float32", containers=["sequence"] * 5)
    with pytest.raises(InvalidArgument, match="5 containers"):
        port_of(message)


def test_a_guest_without_ml_dtypes_sees_the_bits() -> None:
    program = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np
from vaccel import binding
from vaccel.model import DType, Port, Tensor
port = Port("x", DType.BFLOAT16, (2,))
sent = binding.to_value(port, np.array([0x3F80, 0xC000], np.uint16))
assert (sent.dtype, bytes(sent.data).hex()) == (DType.BFLOAT16, "803f00c0"), sent
back = binding.array_of(Tensor(DType.BFLOAT16, (2,), data=sent.data))
assert back.dtype == np.uint16 and back.tolist() == [0x3F80, 0xC000]
assert DType.INT4.numpy == np.uint8
assert "ml_dtypes" not in [name for name, module in sys.modules.items() if module]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_what_contains_arrays_is_bound_by_its_port() -> None:
    x = np.ones(3, np.float32)
    listed = Port("s", DType.FLOAT32, ("n",), containers=("sequence",))
    assert isinstance(binding.to_value(listed, [x, x]), Items)
    perhaps = Port("o", DType.FLOAT32, ("n",), containers=("optional",))
    assert binding.to_value(perhaps, None) == Nothing()
    assert isinstance(binding.to_value(perhaps, x), Tensor)
    mapped = Port("m", DType.FLOAT32, (None,), containers=("map of string",))
    given = binding.to_value(mapped, {"a": 1.0, "b": 2.0})
    assert isinstance(given, Table)
    assert binding.object_of(given) == {"a": 1.0, "b": 2.0}
    for port, wrong, words in (
        (listed, x, r"sequence of float32\[n\], given ndarray"),
        (listed, [x.astype(np.float64)], "dtype must be float32"),
        (mapped, [x], "map of string"),
        (Port("x", DType.FLOAT32, ("n",)), None, "given NoneType"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            binding.to_value(port, wrong)
