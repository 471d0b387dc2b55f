"""What travels back from the guest, and what counts as agreement."""

from __future__ import annotations

import numpy as np
import pytest

from vaccel.bench import report
from vaccel.bench.overhead import row
from vaccel.bench.reference import compare
from vaccel.errors import HostFault


def test_rows_there_and_back() -> None:
    outputs = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7)}
    sent = report.Row("toy", "an answer", 3, 4, 5, 0.5, 1.0, 2.0, outputs)

    (found,) = report.unpack(report.pack([sent]))

    assert (found.model, found.answer, found.launches, found.cycles) == ("toy", "an answer", 3, 4)
    for name, array in outputs.items():
        assert found.outputs[name].dtype == array.dtype
        assert np.array_equal(found.outputs[name], array)


@pytest.mark.parametrize("text", ["", "Traceback", "{}", '{"rows": [{}]}', '{"rows": 3}'])
def test_what_is_no_report_is_a_fault(text: str) -> None:
    with pytest.raises(HostFault, match="no report"):
        report.unpack(text)


def one(value: float) -> dict[str, np.ndarray]:
    return {"a": np.array([1.0, value], np.float32)}


def test_agreement_is_relative_and_absolute() -> None:
    assert compare(one(1000.09), one(1000.0)).agrees
    assert compare(one(9e-6), one(0.0)).agrees
    assert not compare(one(1000.2), one(1000.0)).agrees
    assert not compare(one(2e-5), one(0.0)).agrees


def test_disagreement_names_the_place() -> None:
    found = compare(one(3.0), one(2.0))

    assert found.max_error == 1.0
    assert found.difference == "a[1] is 3.0, not 2.0"


def test_not_a_number_disagrees() -> None:
    assert not compare(one(float("nan")), one(2.0)).agrees


def test_other_names_shapes_or_types_disagree() -> None:
    assert not compare({}, one(1.0)).agrees
    assert not compare({"a": np.ones(3, np.float32)}, {"a": np.ones(2, np.float32)}).agrees
    assert not compare({"a": np.ones(2)}, {"a": np.ones(2, np.float32)}).agrees


def test_the_ratio_is_of_medians() -> None:
    found = row("toy", [1.0, 2.0, 30.0], [1.0, 1.0, 1.0])

    assert (found.wall_ms_guest, found.wall_ms_host_inprocess, found.ratio) == (2.0, 1.0, 2.0)
    assert found.ratio_p99 == pytest.approx(29.44)
