from __future__ import annotations

import time

import pytest

from host_daemon.core.device import Operation
from host_daemon.devices.npu.device import ARITHMETIC, NpuDevice
from host_daemon.devices.registry import find_card, find_profile, load_card, model
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import DType

F32, I8 = DType.FLOAT32, DType.INT8


def device(profile: str = "npu.1c.6g") -> NpuDevice:
    card = load_card(find_card("kcloud-1"))
    found = model(card, find_profile(card, profile))
    assert isinstance(found, NpuDevice)
    return found


def matmul(m: int, k: int, n: int, kind: DType = F32, **attributes: object) -> Operation:
    return Operation("MatMul", ((kind, (m, k)), (kind, (k, n))), ((F32, (m, n)),), attributes)


def test_a_large_product_runs_near_the_peak_of_its_arithmetic() -> None:
    for asked, macs in [("bf16", 128 * 128), ("int8", 2 * 128 * 128), ("fp32", 128 * 128 / 8)]:
        cost = device().cost(matmul(4096, 4096, 4096, **{ARITHMETIC: asked}))
        assert cost.place == "array"
        assert cost.macs / cost.critical_cycles == pytest.approx(macs, rel=0.1)


def test_a_matrix_times_vector_runs_at_the_speed_of_memory() -> None:
    one = device()
    cost = one.cost(matmul(1, 8192, 8192, **{ARITHMETIC: "int8"}))
    seconds = cost.critical_cycles / one.clock_hz
    reached = cost.bytes["dram"] / seconds
    assert 0.8 < reached / one.profile.bandwidth_bytes_per_second <= 0.85


def test_more_cores_are_faster_and_not_more_than_they_are() -> None:
    one = device("npu.1c.6g").cost(matmul(2048, 2048, 2048)).critical_cycles
    eight = device("npu.8c.48g").cost(matmul(2048, 2048, 2048)).critical_cycles
    assert 5 < one / eight <= 8


def test_depthwise_packs_groups_on_the_diagonal() -> None:
    shape = ((F32, (1, 64, 16, 16)), (F32, (64, 1, 3, 3)))
    packed = device().cost(Operation("Conv", shape, ((F32, (1, 64, 16, 16)),), {"group": 64}))
    assert packed.macs == 64 * 9 * 256
    # 128 // 9 = 14 groups a fold: 5 folds where one group at a time would take 64.
    assert packed.cycles["array"] == 5 * 256 * 8


def test_convolutions_of_every_rank_and_dilation() -> None:
    for sides, kernel in [((20,), (3,)), ((20, 20), (3, 5)), ((8, 8, 8), (3, 3, 3))]:
        out = tuple(s - 2 * (k - 1) for s, k in zip(sides, kernel, strict=True))
        cost = device().cost(
            Operation(
                "Conv",
                ((F32, (2, 4, *sides)), (F32, (6, 4, *kernel))),
                ((F32, (2, 6, *out)),),
                {"dilations": [2] * len(sides)},
            )
        )
        pixels = taps = 1
        for side, tap in zip(out, kernel, strict=True):
            pixels, taps = pixels * side, taps * tap
        assert cost.macs == 2 * pixels * 6 * 4 * taps


def test_a_recurrence_waits_for_each_step() -> None:
    def lstm(steps: int) -> Operation:
        shapes = ((F32, (steps, 1, 128)), (F32, (1, 512, 128)), (F32, (1, 512, 128)))
        return Operation("LSTM", shapes, ((F32, (steps, 1, 1, 128)),))

    one, ten = device().cost(lstm(1)), device().cost(lstm(10))
    assert ten.macs == 10 * one.macs
    assert ten.critical_cycles > 3 * one.critical_cycles
    assert ten.bytes["dram"] < 2 * one.bytes["dram"]


def test_free_operations_are_nearly_free() -> None:
    reshape = Operation("Reshape", ((F32, (1024, 1024)), (DType.INT64, (1,))), ((F32, (1 << 20,)),))
    cost = device().cost(reshape)
    assert cost.critical_cycles == 100
    assert not cost.joules


def test_types_that_the_arrays_lack_go_to_the_vector_core() -> None:
    cost = device().cost(matmul(64, 64, 64, DType.FLOAT64))
    assert cost.place == "vector"
    assert cost.critical_cycles > 2 * 64**3 / 512


def test_an_arithmetic_that_the_card_lacks_is_named() -> None:
    with pytest.raises(Unsupported, match=r"kcloud-1.*fp4") as caught:
        device().cost(matmul(8, 8, 8, **{ARITHMETIC: "fp4"}))
    assert "int8" in caught.value.hint


def test_wrong_shapes_are_named() -> None:
    wrong = Operation("Conv", ((F32, (1, 3, 9)), (F32, (4, 2, 3))), ((F32, (1, 4, 7)),))
    with pytest.raises(InvalidArgument, match=r"3 channels.*takes 2"):
        device().cost(wrong)
    short = Operation("Conv", ((F32, (3, 9)), (F32, (4, 3, 3))), (None,))
    with pytest.raises(InvalidArgument, match="not 3 dimensions"):
        device().cost(short)
    with pytest.raises(InvalidArgument, match="input 1 is missing"):
        device().cost(Operation("MatMul", ((F32, (3, 9)),), (None,)))


def test_idle_cores_draw_less_than_busy_ones() -> None:
    eight = device("npu.8c.48g")
    launch = eight.launch_cost([eight.cost(matmul(512, 512, 512))])
    busy = launch.joules["static"] / (launch.device_ns * 1e-9)
    assert eight.idle_watts < busy
    assert eight.idle_watts == pytest.approx(8 * device().idle_watts)


def test_a_layer_is_timed_in_microseconds() -> None:
    one, layer = device("npu.8c.48g"), matmul(512, 768, 3072)

    def batch() -> float:
        start = time.process_time()
        for _ in range(200):
            one.cost(layer)
        return (time.process_time() - start) / 200

    assert min(batch() for _ in range(5)) < 50e-6


def test_more_cores_help_a_square_too_and_never_hurt() -> None:
    cards = [device(f"npu.{cores}c.{6 * cores}g") for cores in (1, 2, 4, 8)]
    for m, k, n in [(512, 512, 512), (1024, 1024, 1024), (1, 4096, 4096), (300, 70, 2000)]:
        spent = [one.cost(matmul(m, k, n, **{ARITHMETIC: "bf16"})).critical_cycles for one in cards]
        assert spent == sorted(spent, reverse=True), (m, k, n)
    square = [one.cost(matmul(1024, 1024, 1024)).critical_cycles for one in cards]
    assert square[0] / square[-1] > 5


def test_deeper_products_never_take_less() -> None:
    one = device("npu.4c.24g")
    spent = [one.cost(matmul(300, k, 500)).critical_cycles for k in range(1, 2000, 37)]
    assert spent == sorted(spent)


def test_twice_the_rows_or_columns_take_more() -> None:
    one = device("npu.8c.48g")
    for size in (1, 3, 17, 100, 128, 700, 1500):
        before = one.cost(matmul(size, 640, size)).critical_cycles
        assert one.cost(matmul(2 * size, 640, size)).critical_cycles >= before
        assert one.cost(matmul(size, 640, 2 * size)).critical_cycles >= before
