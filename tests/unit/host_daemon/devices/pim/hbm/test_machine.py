"""Programs run burst by burst over banks, and the layout of data there."""

from __future__ import annotations

import numpy as np
import pytest

from host_daemon.core.device import Operation
from host_daemon.devices.pim.hbm import fp16, kernels, layout, program, recurrence
from host_daemon.devices.pim.hbm.crf import Instruction, encode_all
from host_daemon.devices.pim.hbm.fp16 import Half
from host_daemon.devices.pim.hbm.machine import Machine
from vaccel.errors import InvalidArgument
from vaccel.model import DType


def halves(seed: int, *shape: int) -> Half:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def run_gemv(weights: Half, vector: Half, channels: int) -> Half:
    outputs, inputs = weights.shape
    banks = layout.gemv_to_banks(weights, channels)
    tiles, rounds = layout.gemv_size(outputs, inputs, channels)
    of, columns = program.gemv(tiles), banks.shape[2]
    machine = Machine(channels, columns // 32 + -(-rounds * 8 // 32))
    machine.zeroes = True
    machine.memory[:, :, :columns] = banks
    padded = np.zeros(tiles * 128, np.float16)
    padded[:inputs] = vector
    order = [*range(0, tiles, 2), *range(1, tiles, 2)] * rounds
    given = [burst for tile in order for burst in padded.reshape(tiles, 8, 16)[tile]]
    machine.run(kernels.gemv(tiles, rounds, len(of)), encode_all(of), given)
    assert machine.mode == "SB"
    stored = machine.memory[:, 1::2, columns : columns + rounds * 8]
    return fp16.lane_sum(layout.accumulators_from_banks(stored, outputs))


@pytest.mark.parametrize(
    ("outputs", "inputs", "channels"),
    [(64, 256, 1), (70, 130, 1), (1, 1, 1), (200, 513, 2), (130, 300, 3)],
)
def test_gemv_as_a_program(outputs: int, inputs: int, channels: int) -> None:
    weights, vector = halves(1, outputs, inputs), halves(2, inputs)
    expected = fp16.gemv(weights, vector[None])[0]
    assert np.array_equal(run_gemv(weights, vector, channels), expected)


ELEMENTWISE = [("add", 2), ("mul", 2), ("mad", 3), ("cell", 4), ("relu", 1)]
ROWS = (kernels.FIRST_ROW, kernels.SECOND_ROW, kernels.THIRD_ROW, kernels.FOURTH_ROW)


def run_vectors(name: str, values: list[Half], channels: int, machine: Machine) -> Half:
    """A kernel of elements, its operands written where it looks for them."""
    tiles = layout.vector_size(values[0].size, channels)
    of = program.KERNELS[name](tiles)
    make = (kernels.unary, kernels.binary, kernels.ternary, kernels.cell)[len(values) - 1]
    for value, row in zip(values, ROWS, strict=False):
        machine.memory[:, :, row * 32 : row * 32 + tiles * 8] = layout.vector_to_banks(
            value, channels
        )
    machine.run(make(tiles, len(of)), encode_all(of))
    start = kernels.RESULT_ROW * 32
    return layout.vector_from_banks(
        machine.memory[:, :, start : start + tiles * 8], values[0].size
    )


@pytest.mark.parametrize(("name", "operands"), ELEMENTWISE)
@pytest.mark.parametrize(("size", "channels"), [(5, 1), (5000, 2)])
def test_element_wise_programs(name: str, operands: int, size: int, channels: int) -> None:
    values = [halves(seed, size) for seed in range(operands)]
    result = run_vectors(name, values, channels, Machine(channels, 530))
    expected = {
        "add": lambda: fp16.add(values[0], values[1]),
        "mul": lambda: fp16.multiply(values[0], values[1]),
        "mad": lambda: fp16.add(fp16.multiply(values[0], values[1]), values[2]),
        "cell": lambda: fp16.add(
            fp16.multiply(values[0], values[1]), fp16.multiply(values[2], values[3])
        ),
        "relu": lambda: fp16.relu(values[0]),
    }[name]()
    assert np.array_equal(result, expected)


@pytest.mark.parametrize(("inputs", "hidden", "channels"), [(20, 24, 1), (100, 70, 2)])
def test_an_lstm_burst_by_burst_has_the_bits_of_the_fast_path(
    inputs: int, hidden: int, channels: int
) -> None:
    """Three kernels a step, and the host's part between them."""
    steps = 3
    x, w, r, b = (
        (halves(seed, *shape) / 4).astype(np.float16)
        for seed, shape in enumerate(
            ((steps, 1, inputs), (1, 4 * hidden, inputs), (1, 4 * hidden, hidden), (1, 8 * hidden))
        )
    )
    shapes = tuple((DType.FLOAT16, each.shape) for each in (x, w, r, b))
    node = Operation("LSTM", shapes, (None, None, None), {"hidden_size": hidden})
    y, y_h, y_c = recurrence.run(node, [x, w, r, b])
    weights = np.concatenate([w[0], r[0]], axis=1)
    bias = b[0].astype(np.float32)
    h, c = np.zeros(hidden, np.float16), np.zeros(hidden, np.float16)
    machine = Machine(channels, 530)
    for step in range(steps):
        sums = run_gemv(weights, np.concatenate([x[step, 0], h]), channels).astype(np.float32)
        gates = sums + (bias[: 4 * hidden] + bias[4 * hidden :])
        i, o, f, g = (each[0] for each in recurrence.activations(gates[None]))
        c = run_vectors("cell", [f, c, i, g], channels, machine)
        h = run_vectors("mul", [o, recurrence.squashed(c)], channels, machine)
        assert np.array_equal(h, y[step, 0, 0])
    assert np.array_equal(h, y_h[0, 0]) and np.array_equal(c, y_c[0, 0])


@pytest.mark.parametrize(
    ("outputs", "inputs", "channels"), [(64, 256, 1), (70, 700, 1), (1, 1, 1), (200, 513, 2)]
)
def test_gemv_whose_sums_leave_after_each_tile(outputs: int, inputs: int, channels: int) -> None:
    weights, vector = halves(1, outputs, inputs), halves(2, inputs)
    tiles, rounds = layout.gemv_size(outputs, inputs, channels)
    of = program.gemv_tree(tiles)
    banks = layout.gemv_to_banks(weights, channels)
    columns = banks.shape[2]
    machine = Machine(channels, kernels.ZERO_ROW + 1)
    machine.zeroes = True
    machine.memory[:, :, :columns] = banks
    padded = np.zeros((tiles, 8, 16), np.float16)
    padded.reshape(-1)[:inputs] = vector
    given = [burst for tile in [*range(tiles)] * rounds for burst in padded[tile]]
    machine.run(kernels.gemv_tree(tiles, rounds, len(of)), encode_all(of), given)
    stored = machine.memory[:, 1::2, columns : columns + rounds * tiles * 8]
    parts = stored.reshape(channels, 8, rounds, tiles, 8, 16).transpose(2, 0, 1, 4, 3, 5)
    found = parts.reshape(-1, tiles, 16)[:outputs]
    wide = np.zeros((outputs, tiles * 128), np.float16)
    wide[:, :inputs] = weights
    for tile in range(tiles):
        part = wide[:, tile * 128 : (tile + 1) * 128]
        expected = fp16.gemv(np.ascontiguousarray(part), padded[tile].reshape(1, -1))[0]
        assert np.array_equal(fp16.lane_sum(np.ascontiguousarray(found[:, tile])), expected)


def test_batch_normalisation_with_scalars_of_a_channel() -> None:
    """Feature channels dealt to memory channels, scale and shift in each one's own SRF."""
    channels, features, size = 2, 5, 3000
    data, scale, shift = halves(1, features, size), halves(2, features), halves(3, features)
    tiles, rounds = -(-size // 2048), -(-features // channels)
    of = program.scale_shift(tiles)
    padded = np.zeros((rounds * channels, tiles * 2048), np.float16)
    padded[:features, :size] = data
    banks = padded.reshape(rounds, channels, tiles * 8, 16, 16).transpose(1, 3, 0, 2, 4)
    machine = Machine(channels, 300)
    columns = rounds * tiles * 8
    machine.memory[:, :, :columns] = banks.reshape(channels, 16, columns, 16)
    srf = np.zeros((rounds * channels, 16), np.float16)
    srf[:features, 0], srf[:features, 8] = scale, shift
    bursts = list(srf.reshape(rounds, channels, 16))
    machine.run(kernels.scaled(tiles, rounds, len(of)), encode_all(of), (), bursts)
    start = kernels.RESULT_ROW * 32
    stored = machine.memory[:, :, start : start + columns]
    whole = stored.reshape(channels, 16, rounds, tiles * 8, 16).transpose(2, 0, 3, 1, 4)
    result = whole.reshape(rounds * channels, -1)[:features, :size]
    expected = fp16.add(fp16.multiply(data, scale[:, None]), shift[:, None])
    assert np.array_equal(result, expected)


def test_other_instructions_move_and_combine() -> None:
    """MOV to a bank, ADD with a scalar, registers by number."""
    of = (
        Instruction("MOV", "GRF_A", "EVEN_BANK", dst_number=3),
        Instruction("ADD", "GRF_B", "GRF_A", "SRF_A", dst_number=2, src0_number=3, src1_number=1),
        Instruction("MUL", "GRF_B", "GRF_B", "GRF_A", dst_number=2, src0_number=2, src1_number=3),
        Instruction("MOV", "EVEN_BANK", "GRF_B", src0_number=2),
        Instruction("EXIT"),
    )
    machine = Machine(1, 2)
    value = halves(4, 8, 16)
    machine.memory[0, ::2, 0] = value
    machine.srf[0, 9] = 0.5
    machine.mode = "HAB"
    bursts = [*kernels.burst(False, 0, 0, 0, 1)] * 3 + [*kernels.burst(True, 0, 0, 1, 1)]
    words = encode_all(of)
    sent = [*kernels.burst(True, 1, 0x3FFF, 4, 1), *kernels.write_mode("pim"), *bursts]
    machine.run(sent, words)
    expected = fp16.multiply(fp16.add(value, np.float16(0.5) * np.ones_like(value)), value)
    assert np.array_equal(machine.memory[0, ::2, 1], expected)


@pytest.mark.parametrize(
    ("outputs", "inputs", "channels"), [(1, 1, 1), (65, 129, 1), (500, 300, 4)]
)
def test_weights_come_back_from_the_banks(outputs: int, inputs: int, channels: int) -> None:
    weights = halves(5, outputs, inputs)
    banks = layout.gemv_to_banks(weights, channels)
    assert np.array_equal(layout.gemv_from_banks(banks, outputs, inputs), weights)


@pytest.mark.parametrize(("size", "channels"), [(1, 1), (2049, 1), (100_000, 16)])
def test_vectors_come_back_from_the_banks(size: int, channels: int) -> None:
    values = halves(6, size)
    banks = layout.vector_to_banks(values, channels)
    assert np.array_equal(layout.vector_from_banks(banks, size), values)


def test_data_in_the_wrong_layout_is_refused_by_shape() -> None:
    banks = layout.gemv_to_banks(halves(1, 64, 256), 2)
    with pytest.raises(InvalidArgument, match=r"64 outputs and 600 inputs .*\[2, 16, 64, 16\]"):
        layout.gemv_from_banks(banks, 64, 600)
    with pytest.raises(InvalidArgument, match=r"vector of 9 elements.*given is \[2, 16, 64, 16\]"):
        layout.vector_from_banks(banks, 9)
    with pytest.raises(InvalidArgument, match="accumulators of 64 outputs"):
        layout.accumulators_from_banks(banks[:, 1::2, :9], 64)


def test_a_burst_to_the_wrong_bank_or_row_is_refused() -> None:
    words = encode_all(program.relu(1))
    start = [*kernels.burst(True, 1, 0x3FFF, 4, 1), *kernels.write_mode("pim")]
    for bank, row, what in ((1, 0, "reads EVEN_BANK.*bank 1"), (0, 9, "row 9 of bank 0")):
        machine = Machine(1, 2)
        machine.mode = "HAB"
        with pytest.raises(InvalidArgument, match=what):
            machine.run([*start, *kernels.burst(False, bank, row, 0, 1)], words)
