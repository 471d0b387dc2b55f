"""What tells calls with plain arrays apart."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from vaccel import plain

X = np.zeros((2, 3), np.float32)


def key(*args: Any, **named: Any) -> Any:
    return plain.read(args, named)[0]


def test_calls_of_one_kind_have_one_key() -> None:
    assert key(X, n=X) == key(X + 1, n=X.copy())
    assert key({"x": X}) == key(x=X)
    assert hash(key(X)) == hash(key(X + 1))


def test_what_differs_has_another_key() -> None:
    keys = [
        key(),
        key(X),
        key(X, X),
        key(x=X),
        key(y=X),
        key(X, x=X),
        key(x=X, y=X),
        key(X[:1]),
        key(X.reshape(3, 2)),
        key(X.astype(np.float64)),
        key(X.astype(">f4")),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "other", [1.0, [1.0], None, "x", np.float32(1), X.T, X[:, ::2], X.view(np.ma.MaskedArray)]
)
def test_what_is_no_plain_array_has_no_key(other: Any) -> None:
    assert key(other) is None
    assert key(X, other) is None


def test_what_is_converted_each_time_does_not_last() -> None:
    assert plain.lasts([X, X.astype(np.int8), X.astype(bool)])
    for other in (X.astype(">f4"), X.astype(ml_dtypes.bfloat16), X.astype(complex), X.astype("O")):
        assert not plain.lasts([X, other])
