"""Weights in the banks, there and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from host_daemon.devices.pim.aim.gemv import Gemv
from host_daemon.devices.pim.aim.layout import from_banks, to_banks
from vaccel.errors import InvalidArgument


@pytest.mark.parametrize("shape", [(1, 1), (16, 1024), (33, 1025), (700, 40), (64, 3000)])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_weights_come_back(shape: tuple[int, int], channels: int) -> None:
    weights = np.arange(shape[0] * shape[1]).reshape(shape).astype(ml_dtypes.bfloat16)
    banks = to_banks(weights, channels)
    gemv = Gemv(*shape, channels)
    assert banks.shape == (channels, 16, gemv.passes * gemv.chunks, 1024)
    assert np.array_equal(from_banks(banks, *shape), weights)
    assert np.count_nonzero(banks.astype(np.float32)) == np.count_nonzero(weights.astype(float))


def test_an_output_lies_in_one_bank() -> None:
    weights = np.zeros((100, 2048), ml_dtypes.bfloat16)
    weights[32 + 16 + 3] = 1  # pass 1 of two channels, channel 1, bank 3
    banks = to_banks(weights, 2)
    assert np.all(banks[1, 3, 2:4] == 1)
    assert np.count_nonzero(banks.astype(np.float32)) == 2048


def test_data_in_the_wrong_layout_is_refused() -> None:
    banks = to_banks(np.ones((64, 2000), np.float32), 2)
    for broken in (banks[:, :8], banks[:1], banks.astype(np.float32), banks[0], banks[:0]):
        with pytest.raises(InvalidArgument, match=r"do not hold 64x2000 weights"):
            from_banks(broken, 64, 2000)
    with pytest.raises(InvalidArgument, match=r"bfloat16\[2, 16, 4, 1024\] do not hold 65x2049"):
        from_banks(banks, 65, 2049)
    with pytest.raises(InvalidArgument, match=r"\[3\] are not a matrix"):
        to_banks(np.ones(3), 2)
