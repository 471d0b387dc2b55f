"""Products within ONNX Runtime's own operators, and Einsum, are products to a device."""

from __future__ import annotations

from typing import Any

import pytest

from host_daemon.core.device import Operation
from host_daemon.devices.contraction import contraction, multiplies
from host_daemon.devices.lowering import lower
from host_daemon.devices.registry import find_card, load_card, model
from vaccel.model import DType

F, U8, I8 = DType.FLOAT32, DType.UINT8, DType.INT8
FOLD = (16, 16)


def op(name: str, inputs: list[Any], output: Any, domain: str = "com.microsoft", **more: Any):
    given = [each if not each or isinstance(each[0], DType) else (F, each) for each in inputs]
    given = [(F, ()) if each == () else each for each in given]
    return Operation(name, tuple(given), ((F, output),), more, domain=domain)


# [batch 2, steps 5, width 32] of 4 heads of 8.
X = (2, 5, 32)
SCORES = 2 * 4 * 5 * 5 * 8
CASES = {
    "FusedMatMul": (op("FusedMatMul", [(7, 3, 9), (5, 9)], (7, 3, 5), transB=1), 7 * 3 * 5 * 9),
    "FusedGemm": (op("FusedGemm", [(3, 9), (9, 5), (5,)], (3, 5)), 3 * 9 * 5),
    "FusedConv": (op("FusedConv", [(1, 3, 6, 6), (4, 3, 3, 3), (4,)], (1, 4, 4, 4)), 16 * 4 * 27),
    "NhwcFusedConv": (op("NhwcFusedConv", [(1, 6, 6, 3), (4, 3, 3, 3)], (1, 4, 4, 4)), 16 * 4 * 27),
    "QGemm": (op("QGemm", [(U8, (3, 9)), (), None, (I8, (9, 5)), (), None], (3, 5)), 135),
    "QLinearConv": (
        op("QLinearConv", [(U8, (1, 6, 6, 3)), (), (), (I8, (4, 3, 3, 3))], (1, 4, 4, 4),
           channels_last=1),
        16 * 4 * 27,
    ),
    "MatMulNBits": (op("MatMulNBits", [(3, 32), (U8, (4, 1, 16)), (4,)], (3, 4), K=32, N=4), 384),
    "MatMulIntegerToFloat": (op("MatMulIntegerToFloat", [(U8, (3, 9)), (I8, (9, 5))], (3, 5)), 135),
    "Attention": (
        op("Attention", [X, (32, 96), (96,)], X, num_heads=4), 2 * 5 * 32 * 96 + 2 * SCORES
    ),
    "Attention with a past": (
        op("Attention", [X, (32, 96), (96,), None, (2, 2, 4, 3, 8)], X, num_heads=4),
        2 * 5 * 32 * 96 + 2 * (2 * 4 * 5 * 8 * 8),
    ),
    "MultiHeadAttention": (op("MultiHeadAttention", [X, X, X], X, num_heads=4), 2 * SCORES),
    "MultiHeadAttention, packed": (
        op("MultiHeadAttention", [(2, 5, 4, 3, 8)], X, num_heads=4), 2 * SCORES
    ),
    "MultiHeadAttention, by heads": (
        op("MultiHeadAttention", [X, (2, 4, 5, 8), (2, 4, 5, 8)], X, num_heads=4), 2 * SCORES
    ),
    "GroupQueryAttention": (
        op("GroupQueryAttention", [X, (2, 5, 16), (2, 5, 16), (2, 2, 3, 8)], X, num_heads=4,
           kv_num_heads=2),
        2 * (2 * 4 * 5 * 8 * 8),
    ),
    "GroupQueryAttention, packed": (
        op("GroupQueryAttention", [(2, 5, 64), None, None], X, num_heads=4, kv_num_heads=2),
        2 * SCORES,
    ),
    "MoE": (
        op("MoE", [(6, 8), (6, 4), (4, 16, 8), None, (4, 8, 16)], (6, 8), k=2),
        12 * 8 * 16 * 2,
    ),
    "DynamicQuantizeLSTM": (
        op("DynamicQuantizeLSTM", [(5, 2, 8), (I8, (1, 8, 64)), (I8, (1, 16, 64))], (5, 1, 2, 16)),
        5 * 2 * 64 * (8 + 16),
    ),
    "Einsum": (
        op("Einsum", [(2, 3, 4), (4, 5)], (2, 3, 5), "", equation="bij,jk->bik"), 2 * 3 * 4 * 5
    ),
    "Einsum of heads": (
        op("Einsum", [(2, 5, 4, 8), (2, 6, 4, 8)], (2, 4, 5, 6), "", equation="bqhd,bkhd->bhqk"),
        2 * 4 * 5 * 6 * 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_multiply_accumulates_are_those_of_its_products(name: str) -> None:
    operation, macs = CASES[name]
    found = lower(operation, FOLD)
    assert found is not None and found.macs == macs


@pytest.mark.parametrize("name", CASES)
def test_the_arrays_of_an_npu_compute_it(name: str) -> None:
    card = load_card(find_card("kcloud-1"))
    assert model(card, card.profiles[0]).cost(CASES[name][0]).place == "array"


def test_quantising_and_few_bits_count() -> None:
    card = load_card(find_card("kcloud-1"))
    device = model(card, card.profiles[0])
    plain = device.cost(op("MatMul", [(64, 512), (512, 512)], (64, 512), ""))
    short = device.cost(
        op("DynamicQuantizeMatMul", [(64, 512), (U8, (512, 512)), ()], (64, 512))
    )
    four = device.cost(
        op("MatMulNBits", [(64, 512), (U8, (512, 16, 16)), (512, 16)], (64, 512), K=512, N=512)
    )
    assert short.macs == four.macs == plain.macs
    assert short.cycles["array"] < four.cycles["array"] == plain.cycles["array"]
    # A half byte a weight and a scale for 32 of them, in place of four bytes.
    assert plain.bytes["dram"] - four.bytes["dram"] == 512 * 512 * 4 - 512 * 256 - 512 * 16 * 4


@pytest.mark.parametrize(
    "equation", ["ij->ji", "ii,ij->j", "...i,i->...", "ij,jk", "i,j->ij", "ij,kl->l", "abc,cd->bd"]
)
def test_what_is_no_product_of_two_matrices_is_left_to_the_vector_core(equation: str) -> None:
    count = len(equation.split("->", maxsplit=1)[0].split(","))
    sides = [(2,) * len(term.strip(".")) for term in equation.partition("->")[0].split(",")]
    operation = op("Einsum", sides[:count], (2,), "", equation=equation)
    assert contraction(operation) is None and lower(operation, FOLD) is None


@pytest.mark.parametrize(
    ("equation", "sides", "expected"),
    [
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),
        ("abc,cd->bd", [(2, 3, 4), (4, 5)], 2 * 3 * 4 * 5),
        ("...i,...i->...", [(2, 3, 4), (3, 4)], 6 * 4),
        ("ii->i", [(3, 3)], 3),
        ("ij,jk", [(2, 3), (3, 4)], 2 * 3 * 4),
    ],
)
def test_other_sums_count_their_multiplications(
    equation: str, sides: list[tuple[int, ...]], expected: int
) -> None:
    assert multiplies(op("Einsum", sides, (2,), "", equation=equation)) == expected


def test_shapes_that_no_document_knows_are_the_kernels_business() -> None:
    for inputs in ([], [(3,)], [X, (7, 96)], [X, None]):
        for name in ("Attention", "MultiHeadAttention", "MoE", "FusedMatMul", "QGemm"):
            lower(op(name, inputs, X), FOLD)
