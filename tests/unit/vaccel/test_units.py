from __future__ import annotations

import pytest

from vaccel import units
from vaccel.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("1.0 GHz", units.FREQUENCY, 1e9),
        ("48 GiB", units.SIZE, 48 << 30),
        ("1500 GB/s", units.BANDWIDTH, 1.5e12),
        ("0.8 pJ", units.ENERGY, 0.8e-12),
        ("3.9 pJ/bit", units.ENERGY_PER_BYTE, 31.2e-12),
        ("85 %", units.SHARE, 0.85),
        ("512 TOPS", units.OPERATIONS, 512e12),
        ("120 ns", units.TIME, 120e-9),
    ],
)
def test_a_number_with_a_unit(text: str, dimension: units.Dimension, value: float) -> None:
    assert units.parse(text, dimension, "field") == value


@pytest.mark.parametrize("text", ["1", "1GHz", "GHz", "1 GB", "1 ghz", "", "nan GHz", "1 G Hz"])
def test_a_wrong_unit_is_refused_with_field_value_and_units(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"card\.clock.*GHz") as caught:
        units.parse(text, units.FREQUENCY, "card.clock")
    assert repr(text) in caught.value.message


@pytest.mark.parametrize("value", [1, 1.5, None, ["1 GHz"]])
def test_a_bare_value_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="no unit"):
        units.parse(value, units.FREQUENCY, "card.clock")
