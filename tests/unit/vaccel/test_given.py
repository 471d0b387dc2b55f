"""What a program gives is taken as it means, or refused by name."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from vaccel import given
from vaccel.errors import InvalidArgument
from vaccel.model import DType

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.just(object)
)


@for_all(ANYTHING)
def test_a_check_gives_a_value_of_its_kind_or_refuses_it_in_one_line(value):
    checks = (given.text, given.count, given.shape, given.seconds, given.share, given.element)
    kinds = (str, int, tuple, float, float, DType)
    for check, kind in zip(checks, kinds, strict=True):
        try:
            assert isinstance(check("thing", value), kind)
        except InvalidArgument as fault:
            assert fault.message.startswith("thing")
            assert len(fault.message) < 200


@pytest.mark.parametrize(
    ("check", "value", "taken"),
    [
        (given.count, np.int32(7), 7),
        (given.count, 2**63 - 1, 2**63 - 1),
        (given.shape, [2, np.int64(3)], (2, 3)),
        (given.shape, 5, (5,)),
        (given.shape, (), ()),
        (given.seconds, 0, 0.0),
        (given.seconds, math.inf, math.inf),
        (given.seconds, -0.5, 0.0),
        (given.seconds, np.float32(0.5), 0.5),
        (given.share, np.float32(0.5), 0.5),
        (given.share, 2, 2.0),
        (given.element, "bfloat16", DType.BFLOAT16),
        (given.element, np.float32, DType.FLOAT32),
        (given.element, np.dtype("int8"), DType.INT8),
    ],
)
def test_what_is_meant_is_taken(check, value, taken):
    assert check("thing", value) == taken


@pytest.mark.parametrize(
    ("check", "value", "said"),
    [
        (given.text, 5, "thing is 5"),
        (given.text, "\udcff", "thing is '\\udcff', which is not UTF-8"),
        (given.count, -1, "thing is -1"),
        (given.count, 1.5, "thing is 1.5"),
        (given.count, 2**63, "thing is 9223372036854775808"),
        (given.count, None, "thing is a NoneType"),
        (given.shape, (2, -1), "thing: axis 1 is -1"),
        (given.seconds, math.nan, "thing is nan"),
        (given.seconds, "1", "thing is '1'"),
        (given.share, 0, "thing is 0"),
        (given.share, math.inf, "thing is inf"),
        (given.share, 10**400, "thing is 1000"),
        (given.share, True, "thing is True"),
        (given.share, None, "thing is a NoneType"),
        (given.element, "float33", "thing: dtype is 'float33'"),
        (given.element, b",", "thing: dtype is a bytes"),  # NumPy: a SyntaxError
        (given.element, None, "thing: dtype is a NoneType"),  # NumPy: float64
    ],
)
def test_what_cannot_be_meant_is_named(check, value, said):
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        check("thing", value)
