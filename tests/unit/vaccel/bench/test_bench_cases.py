"""The folder that host and guest share, and the guest program's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaccel.bench import guest
from vaccel.bench.workloads import audio, cases, silero
from vaccel.errors import NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "silero").mkdir()
    sound = np.sin(np.arange(4000) / 5).astype(np.float32) / 2
    audio.write_wav(tmp_path / "silero" / "speech.wav", sound, silero.RATE)
    return tmp_path


def test_a_case_runs_on_whatever_is_called_with_arrays(folder: Path) -> None:
    def model(**inputs: Any) -> dict[str, Any]:
        return {"output": np.ones((1, 1), np.float32), "stateN": inputs["state"]}

    (case,) = cases.load("silero", folder)

    # 4,000 samples are 0.25 s: speech must be longer to count.
    assert case.decide(case.run(model)) == "no speech"
    assert case.model_file == folder / "silero" / "silero_vad.onnx"


def test_one_call_has_all_inputs(folder: Path) -> None:
    (case,) = cases.load("silero", folder)

    assert {name: array.shape for name, array in case.call().items()} == {
        "input": (1, 576),
        "state": (2, 1, 128),
        "sr": (),
    }


@pytest.mark.parametrize("name", ["yolo", "magika", "all"])
def test_what_is_not_there_is_named(name: str, folder: Path) -> None:
    with pytest.raises(NotFound, match=r"yolo|magika"):
        cases.load(name, folder)


def test_times_leave_the_warm_up_out(folder: Path) -> None:
    (case,) = cases.load("silero", folder)
    calls: list[int] = []

    times = guest.timed(lambda **inputs: calls.append(1), case, 4)

    assert (len(times), len(calls)) == (4, 4 + guest.WARM_UPS)
    assert min(times) >= 0


def test_the_guest_program_fails_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = guest.main(["magika", str(folder), "--json"])

    out = capsys.readouterr()
    assert code == NotFound.exit_code
    assert out.out == ""
    assert out.err.startswith("NotFound: ") and out.err.count("\n") == 1
