from __future__ import annotations

import math

import numpy as np
import pytest

from host_daemon.devices.nvm.analog.normals import normals


def test_moments_and_tails_are_those_of_the_normal_distribution() -> None:
    values = normals(np.random.default_rng(1), (1000, 1000)).astype(np.float64).ravel()
    assert values.mean() == pytest.approx(0, abs=0.005)
    for power, moment in ((2, 1), (3, 0), (4, 3), (6, 15)):
        assert np.mean(values**power) == pytest.approx(moment, abs=0.01 * math.factorial(power))
    for deviations in (0.5, 1, 2, 3, 4):
        share = math.erfc(deviations / 2**0.5)
        error = (share / values.size) ** 0.5
        assert np.mean(np.abs(values) > deviations) == pytest.approx(share, abs=5 * error)


def test_numbers_do_not_depend_on_one_another() -> None:
    values = normals(np.random.default_rng(2), (65536 * 4,)).astype(np.float64)
    for shift in (1, 2, 1 << 14, 1 << 15):
        for left, right in ((values, values), (values**2 - 1, values**2 - 1)):
            product = np.mean(left[shift:] * right[:-shift])
            assert abs(product) < 5 * 2 / values.size**0.5


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3, 5), (0, 4), ((1 << 15) + 1,)])
def test_any_shape_is_filled(shape: tuple[int, ...]) -> None:
    values = normals(np.random.default_rng(3), shape, 1e-3)
    assert values.shape == shape and values.dtype == np.float32
    assert np.isfinite(values).all() and (np.abs(values) < 6e-3).all()
    assert (values == normals(np.random.default_rng(3), shape, 1e-3)).all()
