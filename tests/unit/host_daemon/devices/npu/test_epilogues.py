"""Element-wise nodes on a product's tiles: what they save, what they do not, and never more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.core.device import ARITHMETIC, Epilogue, Fuses, NodeCost, Operation
from host_daemon.devices.npu.device import NpuDevice
from host_daemon.devices.registry import find_card, load_card, model
from vaccel.model import DType, Shape

F32, F64 = DType.FLOAT32, DType.FLOAT64
CARDS = ("kcloud-1", "kcloud-2", "edge-1", "server-1", "warboy", "rngd", "atom", "rebel-quad")
PLAIN = ("Relu", "Clip", "Sigmoid", "Gelu", "HardSwish")


def fusing(card: str = "kcloud-1", profile: int = 0) -> Fuses:
    found = load_card(find_card(card))
    made = model(found, found.profiles[profile])
    assert isinstance(made, Fuses)
    return made


def matmul(m: int, k: int, n: int, kind: DType = F32, **attributes: object) -> Operation:
    return Operation("MatMul", ((kind, (m, k)), (kind, (k, n))), ((kind, (m, n)),), attributes)


def conv(side: int, channels: int, filters: int, kind: DType = F32) -> Operation:
    shapes = ((kind, (1, channels, side + 2, side + 2)), (kind, (filters, channels, 3, 3)))
    return Operation("Conv", shapes, ((kind, (1, filters, side, side)),))


def behind(product: Operation, *ops: str) -> list[Epilogue]:
    out = product.outputs[0]
    assert out is not None
    kind, shape = out
    channel: Shape = (shape[1], *(1,) * (len(shape) - 2)) if len(shape) > 2 else shape[-1:]
    made = []
    for op in ops:
        inputs, constant = (out,), frozenset[int]()
        if op == "bias":
            inputs, constant = (out, (kind, channel)), frozenset({1})
        elif op == "residual":
            inputs = (out, out)
        elif op == "BatchNormalization":
            inputs, constant = (out, *((kind, channel[:1]),) * 4), frozenset({1, 2, 3, 4})
        name = "Add" if op in ("bias", "residual") else op
        made.append(Epilogue(Operation(name, inputs, (out,), {}, constant), 0))
    return made


def summed(costs: Sequence[NodeCost], what: str) -> float:
    if what == "cycles":
        return sum(cost.critical_cycles for cost in costs)
    if what == "joules":
        return math.fsum(each for cost in costs for each in cost.joules.values())
    return sum(cost.bytes.get(what, 0) for cost in costs)


def test_the_result_between_is_neither_written_nor_read() -> None:
    one, product = fusing(), matmul(512, 512, 512)
    after = behind(product, "Relu", "bias", "residual")
    apart = [one.cost(product), *(one.cost(each.operation) for each in after)]
    together = one.fused(product, after)
    assert [cost.place for cost in together] == ["array", "vector", "vector", "vector"]
    result = 512 * 512 * 4
    # Three results are written and read again no more; the bias and the residual still are read.
    assert summed(apart, "dram") - summed(together, "dram") == 3 * 2 * result
    assert together[0].bytes["dram"] == apart[0].bytes["dram"] + 512 * 4 + result
    for now, before in zip(together[1:], apart[1:], strict=True):
        # The work is as it was; each waits for no DRAM.
        assert now.cycles == {"vector": before.cycles["vector"]}
        assert now.joules["vector"] == before.joules["vector"]
        assert now.critical_cycles < before.critical_cycles


def test_the_last_round_of_tiles_hides_nothing() -> None:
    one = fusing()
    assert isinstance(one, NpuDevice)
    issue = one.card.parameters.node_cycles
    small = matmul(64, 64, 64)
    product, relu = one.fused(small, behind(small, "Relu"))
    assert relu.critical_cycles == issue + relu.cycles["vector"]  # one round: all is behind
    # 16 times as many tiles: a sixteenth is behind.
    large = matmul(4096, 2048, 4096)
    product, relu = one.fused(large, behind(large, "Relu"))
    shown = relu.critical_cycles - issue
    assert 0 < shown < relu.cycles["vector"] / 8
    assert product.critical_cycles >= one.cost(large).critical_cycles


def test_what_the_product_takes_less_time_than_is_seen() -> None:
    one = fusing()
    assert isinstance(one, NpuDevice)
    product = matmul(4096, 16, 4096, **{ARITHMETIC: "int8"})
    out = ((F32, (4096, 4096)),)
    product = replace(product, outputs=out)
    costs = one.fused(product, behind(product, *["Gelu"] * 8))
    busy = sum(cost.cycles.get("vector", 0) for cost in costs)
    assert busy <= summed(costs, "cycles")


def test_patches_are_added_up_before_anything_is_computed_on_them() -> None:
    one = fusing()
    assert isinstance(one, NpuDevice)
    shapes = ((F32, (1, 64, 64, 64)), (F32, (64, 64, 2, 2)))
    product = Operation("ConvTranspose", shapes, ((F32, (1, 64, 128, 128)),), {"strides": (2, 2)})
    _, relu = one.fused(product, behind(product, "Relu"))
    assert relu.critical_cycles == one.card.parameters.node_cycles + relu.cycles["vector"]


@pytest.mark.parametrize(
    ("product", "ops"),
    [
        (matmul(8, 8, 8, F64), ["Relu"]),  # the vector core multiplies it
        (Operation("Softmax", ((F32, (8, 8)),), ((F32, (8, 8)),)), ["Relu"]),
        (matmul(8, 8, 8), []),
        (matmul(8, 8, 8), ["MatMul"]),
    ],
)
def test_what_is_not_fused(product: Operation, ops: list[str]) -> None:
    after = behind(product, *ops)
    if ops == ["MatMul"]:
        after = [Epilogue(product, 0)]
    assert not fusing().fused(product, after)


def test_banks_end_a_chain() -> None:
    one = fusing("kcloud-2")
    product = matmul(2048, 512, 4096, DType.FLOAT16)
    after = behind(product, "Sigmoid", "residual", "Sigmoid")
    places = [one.cost(each.operation).place for each in (Epilogue(product, 0), *after)]
    assert places == ["array", "vector", "banks", "vector"]
    assert len(one.fused(product, after)) == 2
    row = replace(matmul(1, 4096, 4096, DType.FLOAT16), constant_inputs=frozenset({1}))
    assert one.cost(row).place == "banks" and not one.fused(row, behind(row, "Sigmoid"))


sizes = st.integers(1, 3000)
products = st.one_of(
    st.builds(matmul, sizes, sizes, sizes, st.sampled_from([F32, DType.FLOAT16])),
    st.builds(conv, st.integers(1, 80), st.integers(1, 300), st.integers(1, 300)),
)
chains = st.lists(
    st.sampled_from((*PLAIN, "bias", "residual", "BatchNormalization")), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=400)
@given(products, chains, st.sampled_from(CARDS), st.sampled_from([0, -1]))
def test_fused_nodes_are_never_dearer(
    product: Operation, ops: list[str], card: str, profile: int
) -> None:
    one = fusing(card, profile)
    after = behind(product, *ops)
    together = one.fused(product, after)
    apart = [one.cost(product), *(one.cost(each.operation) for each in after)][: len(together)]
    for what in ("cycles", "dram", "joules"):
        assert summed(together, what) <= summed(apart, what)
    for now, before in zip(together, apart, strict=True):
        assert now.place == before.place and now.macs == before.macs
        assert now.cycles.get("vector", 0) == before.cycles.get("vector", 0)
    busy = {unit: 0 for cost in together for unit in cost.cycles}
    for cost in together:
        for unit, cycles in cost.cycles.items():
            busy[unit] += cycles
    assert all(cycles <= summed(together, "cycles") for cycles in busy.values())
