"""Errors over the wire: every class arrives as itself, and fits a status whatever is in it."""

from __future__ import annotations

import pytest

from vaccel import bounds, errors
from vaccel.rpc import convert, status


@pytest.mark.parametrize("cls", errors.BY_CODE.values(), ids=errors.BY_CODE)
def test_every_class_arrives_as_itself(cls: type[errors.VaccelError]) -> None:
    sent = cls("vf 'x' is y", hint="do z")
    got = convert.error_of(convert.to_error(sent))
    assert type(got) is cls and str(got) == str(sent)
    assert cls in status.CODES


@pytest.mark.parametrize("letter", ["x", "é", "€", "\U0001f600"])
def test_a_long_text_is_cut_between_letters(letter: str) -> None:
    message = convert.to_error(errors.NotFound(letter * 100_000, hint=letter * 100_000))
    assert bounds.ERROR_BYTES - 8 < len(message.message.encode()) <= bounds.ERROR_BYTES
    assert len(message.hint.encode()) <= bounds.HINT_BYTES
    assert message.message.endswith(letter + "…")
    trailer = dict(status.trailer_of(errors.NotFound(letter * 100_000, hint=letter * 100_000)))
    assert len(trailer[status.TRAILER]) < 8 * bounds.KIB / 2


def test_a_text_that_fits_is_left_alone() -> None:
    assert convert.clip("é" * 8, 16) == "é" * 8
    assert convert.clip("", 0) == ""
    assert convert.clip("lone \ud800", 100) == "lone ?"
