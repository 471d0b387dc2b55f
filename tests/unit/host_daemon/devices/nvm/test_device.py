"""Products on tiles, chance from a seed, age, demands, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from host_daemon.core.device import MAX_ERROR, WEIGHT_LIMIT, Operation
from host_daemon.core.lasting import Lasting, LastingKind, Life
from host_daemon.devices.nvm.kind import NvmKind
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import DType

from .conftest import F32, error, level, matmul, normal, value

X = normal(32, 400, seed=3)
W = normal(400, 300, seed=4)
EXACT = X @ W


def loaded(device, weights=W, **attributes):
    operation = matmul(weights, **attributes)
    device.keep(operation, {1: weights})
    return operation


def test_it_is_what_the_port_says(rig) -> None:
    assert isinstance(rig().device(), Lasting)
    assert isinstance(NvmKind(), LastingKind)


def test_a_product_is_near_and_costs_what_its_shapes_say(rig) -> None:
    device = rig().device()
    operation = loaded(device)
    (given,) = device.run(operation, [X, None])
    assert given.dtype == np.float32
    assert 0.02 < error(given, EXACT) < 0.2
    assert device.computes(operation)
    cost = device.cost(replace(operation, inputs=((F32, X.shape), (F32, W.shape))))
    assert cost.place == "tiles"
    assert cost.cycles["tiles"] == 32 * 133
    assert cost.macs == 32 * 400 * 300
    own = rig().own
    assert cost.joules["adc"] == pytest.approx(32 * 300 * 2 * own.energy.adc)
    assert cost.joules["dac"] == pytest.approx(32 * 400 * 2 * own.energy.dac)


CONVOLUTIONS = [
    ((2, 8, 12, 12), (6, 8, 3, 3), {"pads": (1, 1, 1, 1)}),
    ((1, 8, 13, 11), (6, 8, 3, 3), {"strides": (2, 2), "auto_pad": "SAME_UPPER"}),
    ((1, 8, 13, 11), (6, 8, 3, 3), {"strides": (2, 2), "auto_pad": "SAME_LOWER"}),
    ((1, 8, 12, 12), (6, 8, 3, 3), {"dilations": (2, 2)}),
    ((1, 8, 12, 12), (8, 1, 3, 3), {"group": 8, "pads": (1, 1, 1, 1)}),
    ((1, 8, 40), (6, 4, 5), {"group": 2, "pads": (0, 3)}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
def test_a_convolution_is_mapped_as_onnx_means_it(rig, x, w, attributes) -> None:
    data, weights, bias = normal(*x), normal(*w, seed=2), normal(w[0], seed=5)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xwby"
    ]
    graph = helper.make_graph([node], "g", values[:3], values[3:])
    opset = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    session = ort.InferenceSession(made, providers=["CPUExecutionProvider"])
    (exact,) = session.run(None, {"x": data, "w": weights, "b": bias})
    device = rig().device()
    operation = Operation(
        "Conv",
        ((F32, x), (F32, w), (F32, bias.shape)),
        ((F32, exact.shape),),
        attributes,
        frozenset({1, 2}),
        resident="c",
    )
    device.keep(operation, {1: weights, 2: bias})
    (given,) = device.run(operation, [data, None, None])
    assert given.shape == exact.shape
    assert error(given, exact) < 0.2
    assert device.cost(operation).place == "tiles"


def test_gemm_scales_and_adds_in_digital(rig) -> None:
    device, bias = rig().device(), normal(300, seed=6)
    attributes = {"transB": 1, "alpha": 0.5, "beta": 2.0}
    inputs = ((F32, X.shape), (F32, W.T.shape), (F32, bias.shape))
    operation = Operation(
        "Gemm", inputs, ((F32, EXACT.shape),), attributes, frozenset({1}), resident="g"
    )
    device.keep(operation, {1: W.T.copy()})
    (given,) = device.run(operation, [X, None, bias])
    assert error(given, 0.5 * EXACT + 2 * bias) < 0.2


def test_fp16_comes_and_goes_as_fp16(rig) -> None:
    device, half = rig().device(), W.astype(np.float16)
    kinds = ((DType.FLOAT16, X.shape), (DType.FLOAT16, W.shape))
    operation = Operation("MatMul", kinds, (None,), {}, frozenset({1}), resident="h")
    device.keep(operation, {1: half})
    (given,) = device.run(operation, [X.astype(np.float16), None])
    assert given.dtype == np.float16
    assert error(given.astype(np.float32), EXACT) < 0.2


def test_runs_repeat_and_seeds_tell_nothing_of_each_other(rig) -> None:
    def run(seed: bytes) -> tuple[np.ndarray, np.ndarray]:
        device = rig().device(seed=seed)
        operation = loaded(device)
        return device.run(operation, [X, None])[0], device.run(operation, [X, None])[0]

    one, again, other = run(b"a" * 32), run(b"a" * 32), run(b"b" * 32)
    assert all(np.array_equal(*pair) for pair in zip(one, again, strict=True))
    assert not np.array_equal(*one)  # each launch draws anew
    noise = [(given - EXACT).ravel() for given in (one[0], other[0])]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.05


def test_looking_changes_nothing(rig) -> None:
    quiet, watched = rig().device(), rig().device()
    results = []
    for device in (quiet, watched):
        operation = loaded(device)
        device.set_clock(3600.0)
        if device is watched:
            device.condition()
        results.append(device.run(operation, [X, None])[0])
    assert np.array_equal(*results)


def test_drift_is_compensated_on_request(rig) -> None:
    device = rig().device()
    operation = loaded(device)
    fresh = error(device.run(operation, [X, None])[0], EXACT)
    device.set_clock(3600.0)
    old = error(device.run(operation, [X, None])[0], EXACT)
    assert value(device, "cell age") == 3600
    cost = device.recalibrate()
    assert cost.joules["adc"] > 0
    assert cost.device_ns > 0
    mended = error(device.run(operation, [X, None])[0], EXACT)
    assert fresh < mended < old
    assert value(device, "calibrated") == 0


def test_a_demand_is_kept_by_what_is_cheapest(rig) -> None:
    device = rig().device()
    operation = loaded(device, **{MAX_ERROR: "0.15"})
    assert "write" not in device.upkeep().joules
    assert device.upkeep() is None
    device.set_clock(60.0)
    device.run(operation, [X, None])
    assert "write" not in device.upkeep().joules  # scaling did
    device.set_clock(1e8)
    assert error(device.run(operation, [X, None])[0], EXACT) < 0.16
    assert device.upkeep().joules["write"] > 0  # nothing but writing anew did
    assert level(device, "expected error") in ("ok", "warning")


def test_a_demand_is_kept_though_the_operator_looked_before(rig) -> None:
    quiet, watched = rig().device(), rig().device()
    results = []
    for device in (quiet, watched):
        operation = loaded(device, **{MAX_ERROR: "0.15"})
        device.set_clock(1e8)
        if device is watched:
            assert level(device, "expected error") == "fault"
        results.append(device.run(operation, [X, None])[0])
        assert device.upkeep().joules["write"] > 0
    assert np.array_equal(*results)
    assert error(results[0], EXACT) < 0.16
    # Nor does a look after a refusal let the next launch pass.
    for record in watched._tiles.all:
        record.put(worst=record.tile.endurance)
    watched.set_clock(1e9)
    for _ in range(2):
        with pytest.raises(Unsupported, match=r"max_error = 0\.15"):
            watched.run(operation, [X, None])
        assert level(watched, "expected error") == "fault"


def test_a_demand_that_cannot_be_kept_is_refused(rig) -> None:
    device = rig().device()
    with pytest.raises(Unsupported, match=r"m/product .*max_error = 0\.01, but this card reaches"):
        loaded(device, **{MAX_ERROR: "0.01"})
    assert value(device, "tiles in use") == 0
    for wrong in ("0", "-1", "nan", "soon", "inf"):
        with pytest.raises(InvalidArgument, match=f"max_error = '{wrong}'"):
            loaded(device, **{MAX_ERROR: wrong})


def test_a_demand_ends_with_the_budget(rig) -> None:
    device = rig(rewrites=1, rows=400, columns=300).device()
    for turn in range(3):
        other = normal(400, 300, seed=turn)
        device.keep(matmul(other, f"{turn}/a"), {1: other})
        device.drop(f"{turn}/a")
    operation = loaded(device, **{MAX_ERROR: "0.15"})
    device.set_clock(1e8)
    with pytest.raises(Unsupported, match="cannot be written anew: write budget of"):
        device.run(operation, [X, None])
    assert level(device, "health") == "fault"


def test_weights_beyond_the_range_are_clipped_and_counted(rig) -> None:
    device = rig().device()
    loaded(device, **{WEIGHT_LIMIT: "2"})
    assert value(device, "weights clipped") == np.count_nonzero(np.abs(W) > 2)
    assert level(device, "weights clipped") == "warning"


def test_what_is_no_number_is_refused_by_name(rig) -> None:
    device, broken = rig().device(), W.copy()
    broken[5, 6] = np.nan
    with pytest.raises(InvalidArgument, match=r"m/product'\[5, 6\] = nan"):
        loaded(device, broken)
    operation = loaded(device)
    with pytest.raises(InvalidArgument, match="not finite"):
        device.run(operation, [np.full_like(X, np.inf), None])


def test_a_converter_that_saturates_is_counted(rig) -> None:
    device = rig().device()
    device._own = replace(
        device._own,
        periphery=replace(
            device._own.periphery,
            adc=type(device._own.periphery.adc).of(8, 1.0),
            bound_management=False,
        ),
    )
    ones = np.ones((256, 64), np.float32)
    operation = loaded(device, ones)
    device.run(operation, [np.ones((4, 256), np.float32), None])
    assert value(device, "outputs saturated") == 4 * 64
    assert level(device, "outputs saturated") == "warning"


def test_time_goes_forward(rig) -> None:
    device = rig().device(now=100.0)
    for wrong in (99.0, float("nan"), float("inf")):
        with pytest.raises(InvalidArgument, match="clock = "):
            device.set_clock(wrong)


def test_cells_of_another_card_are_refused_by_name(rig) -> None:
    made = rig()
    made.device().keep(matmul(W), {1: W})
    device = NvmKind().model(made.card, made.card.profiles[0])
    with pytest.raises(InvalidArgument, match=r"seed of 5, but"):
        device.begin(Life(b"short", made.cells, 0.0))
    with pytest.raises(InvalidArgument, match=r"17 bytes"):
        device.begin(Life(bytes(32), memoryview(bytearray(17)), 0.0))
    made.cells[16:20] = (9).to_bytes(4, "little")  # slices of the first tile's geometry
    with pytest.raises(InvalidArgument, match=r"tile 0: geometry = \[9, 256, 256\]"):
        made.device()


def test_a_state_moves_cells_and_their_age(rig) -> None:
    source, target = rig().device(now=50.0), rig().device(now=9000.0)
    operation = loaded(source)
    source.set_clock(3650.0)
    (before,) = source.run(operation, [X, None])
    target.restore(source.save())
    assert "write" not in target.keep(operation, {1: W}).joules
    assert value(target, "cell age") == 3600
    assert error(target.run(operation, [X, None])[0], before) < 0.2
    assert value(target, "write budget") == 0
