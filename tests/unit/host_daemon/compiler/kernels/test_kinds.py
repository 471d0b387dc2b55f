"""An arithmetic that is stated holds on every kind of card, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from host_daemon.compiler.program import Target, compile_model
from host_daemon.devices import registry
from tests.unit.host_daemon.compiler.kernels import cases, roundoff
from vaccel.errors import Unsupported
from vaccel.kernels import KERNELS
from vaccel.model import DType

CARDS = ("kcloud-1", "aquabolt-xl", "aim", "kcloud-2", "kcloud-3")
PRODUCTS = ("matmul", "gemv", "batched_matmul", "linear", "conv1d", "conv2d", "attention")
# Those that are roundings. Bounds of each kind: test_products.py, test_banks.py, test_analog.py.
SHORT = ("bf16", "fp16", "fp8_e4m3", "fp8_e5m2")


def vf(name: str, scratch: Path) -> Target:
    card = registry.load_card(registry.find_card(name))
    return Target(registry.model(card, card.profiles[0]), 1, scratch)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("kernel", PRODUCTS)
def test_an_arithmetic_of_the_card_is_in_the_result_or_refused(
    card: str, kernel: str, tmp_path: Path
) -> None:
    target = vf(card, tmp_path)
    arrays = cases.example(kernel, DType.FLOAT32)
    (name, plain), *_ = cases.run(target, kernel, arrays).results.items()
    for arithmetic in (each for each in target.device.arithmetic if each in SHORT):
        try:
            found = cases.run(target, kernel, arrays, arithmetic=arithmetic).results[name]
        except Unsupported as refused:
            assert arithmetic in refused.message
            assert card in ("aquabolt-xl", "aim")  # whose banks have products alone
            continue
        assert not np.array_equal(found, plain), f"{arithmetic} was dropped"
        # Two roundings of operands that are one's size, a few dozen sums deep.
        unit = roundoff.FORMATS[arithmetic].u
        assert np.abs(found - plain).max() <= 64 * unit * np.abs(plain).max()


def test_what_banks_leave_to_the_host_is_rounded_as_was_asked(tmp_path: Path) -> None:
    target, rng = vf("aquabolt-xl", tmp_path), np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((64, 40), (40, 24)))
    found = cases.run(target, "matmul", {"a": a, "b": b}, arithmetic="fp16").results["result"]
    sums = a.astype("e").astype("f") @ b.astype("e").astype("f")
    near = np.abs(found - sums.astype("e").astype("f"))
    assert near.max() <= 2**-10 * np.abs(sums).max()
    assert np.array_equal(found, found.astype("e").astype("f"))


def test_fp32_of_a_whole_model_runs_beside_the_tiles(tmp_path: Path) -> None:
    target, rng = vf("kcloud-3", tmp_path), np.random.default_rng(0)
    x, w = rng.standard_normal((3, 32), np.float32), rng.standard_normal((32, 16), np.float32)
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [3, size])
        for n, size in (("x", 32), ("y", 16))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    held = [numpy_helper.from_array(w, "w")]
    graph = helper.make_graph([node], "main", ends[:1], ends[1:], held)
    opset = [helper.make_opsetid("", 21)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    program = compile_model(data, target, arithmetic="fp32")
    outcome = program.run({"x": x}, ["y"])
    np.testing.assert_allclose(outcome.results["y"], x @ w, rtol=1e-5, atol=1e-5)
    assert set(outcome.cost.nodes) == {"digital"}


def test_every_product_is_among_those_here() -> None:
    assert set(PRODUCTS) <= {name for name, each in KERNELS.items() if each.products}
