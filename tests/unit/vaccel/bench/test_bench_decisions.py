"""What is decided by answers, and the pictures that there is something to decide about."""

from __future__ import annotations

import numpy as np
import pytest

from vaccel.bench import agreement_pictures as pictures
from vaccel.bench.agreement import Row
from vaccel.bench.agreement_models import MODELS
from vaccel.bench.decisions import decided, inputs_of

BY_NAME = {each.name: each for each in MODELS}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_model_has_inputs_of_the_same_kind_to_decide_about(name: str) -> None:
    model = BY_NAME[name]
    usual, meant = (make(np.random.default_rng(1)) for make in (model.inputs, inputs_of(model)))
    again = inputs_of(model)(np.random.default_rng(1))
    assert usual.keys() == meant.keys()
    for key, given in meant.items():
        assert (given.dtype, given.ndim) == (usual[key].dtype, usual[key].ndim)
        np.testing.assert_array_equal(given, again[key])


def test_thresholds_are_those_of_the_programs() -> None:
    def of(name: str, *answer: object) -> list[bool]:
        given = {"y": np.array(answer, np.float32)}
        return np.asarray(decided(BY_NAME[name], given)).ravel().tolist()

    assert of("silero_vad", [0.49], [0.5]) == [False, True]
    assert of("magika", [0.2, 0.5, 0.3], [0.9, 0.0, 0.1]) == [1, 0]
    assert of("rapidocr-det", [0.29, 0.31]) == [False, True]
    assert of("rapidocr-rec", [[0.1, 0.9], [0.9, 0.1]]) == [1, 0]
    assert of("rapidocr-cls", [0.15, 0.85], [0.05, 0.95]) == [False, True]


def test_text_is_dark_on_light_and_upside_down_at_times() -> None:
    line = pictures.line(np.random.default_rng(0), 192)
    assert line.shape == (1, 3, 48, 192) and -1 <= line.min() < -0.4 < 0.4 < line.max() <= 1
    ink = pictures.ink(np.random.default_rng(0), 3, 2)
    assert ink.shape == (14, 34) and set(np.unique(ink)) == {0, 1}
    page = pictures.page(np.random.default_rng(0), 96, 160)
    assert page.shape == (1, 3, 96, 160)


def test_numbers_must_agree_in_float32_and_decisions_in_all_else() -> None:
    def row(arithmetic: str, agreed: int, same: int) -> Row:
        return Row("m", arithmetic, True, 200, agreed, 0.0, 200, same, same, 1, {})

    assert row("fp32", 200, 200).passed and not row("fp32", 199, 200).passed
    assert row("bf16", 0, 198).passed and not row("int8", 0, 197).passed
