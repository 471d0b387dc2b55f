"""Framing and decisions of Silero VAD, against the package's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaccel.bench.workloads import silero

SPANS = json.loads((Path(__file__).parent / "data" / "silero_spans.json").read_text())["cases"]


def test_each_frame_follows_the_last_64_samples_of_the_one_before() -> None:
    samples = np.arange(1, 1301, dtype=np.float32)

    framed = silero.frames(samples)

    assert framed.shape == (3, 576)
    assert framed.dtype == np.float32
    assert not framed[0, :64].any()
    assert framed[0, 64:].tolist() == list(range(1, 513))
    assert framed[1, :64].tolist() == list(range(449, 513))
    assert framed[1, 64:].tolist() == list(range(513, 1025))
    assert framed[2, :64].tolist() == list(range(961, 1025))
    assert framed[2, 64 : 64 + 276].tolist() == list(range(1025, 1301))
    assert not framed[2, 64 + 276 :].any()


@pytest.mark.parametrize("samples, count", [(0, 0), (1, 1), (512, 1), (513, 2)])
def test_a_started_frame_counts(samples: int, count: int) -> None:
    assert len(silero.frames(np.ones(samples, np.float32))) == count


def test_the_state_travels_from_call_to_call() -> None:
    seen: list[dict[str, Any]] = []

    def model(**inputs: Any) -> dict[str, Any]:
        seen.append(inputs)
        return {"output": np.full((1, 1), 0.5, np.float32), "stateN": inputs["state"] + 1}

    outputs = silero.run(model, np.zeros(3 * 512, np.float32))

    assert [call["state"].max() for call in seen] == [0, 1, 2]
    assert [(call["input"].shape, call["input"].dtype) for call in seen] == [((1, 576), "f4")] * 3
    assert all(call["sr"].shape == () and call["sr"] == 16000 for call in seen)
    assert all(call["sr"].dtype == np.int64 for call in seen)
    assert outputs["output"].shape == (3, 1, 1)
    assert outputs["stateN"][:, 0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("case", SPANS)
def test_spans_are_those_of_the_package(case: dict[str, Any]) -> None:
    found = silero.spans(case["probabilities"], case["length"])

    assert [[round(a * 16000), round(b * 16000)] for a, b in found] == case["samples"]


def test_the_answer_is_a_sentence() -> None:
    probabilities = np.zeros((60, 1, 1), np.float32)
    probabilities[10:25] = 0.9
    probabilities[40:] = 0.9

    assert silero.decide({"output": probabilities}, 60 * 512) == "speech 0.3-0.8 s, 1.2-1.9 s"
    assert silero.decide({"output": probabilities * 0}, 60 * 512) == "no speech"
