from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from host_daemon.devices import validate as validator
from host_daemon.devices.npu.oracles import onnxim, scalesim
from host_daemon.devices.oracle import Oracle, standard_errors, within
from host_daemon.devices.validate import DEFAULT, ORACLES, compare, main, read, validate
from vaccel.errors import Internal, InvalidArgument

SCALESIM, ONNXIM = (
    DEFAULT / "npu" / name for name in ("scalesim_v3_calc.csv", "onnxim_cycles.csv")
)


def test_equal_to_scalesim_in_every_row() -> None:
    rows = read(SCALESIM)
    assert len(rows) == 60
    for row in rows:
        assert scalesim(row) == int(row["total_cycles"]), row["layer"]


def test_scalesim_sees_convolutions_as_their_gemm() -> None:
    for row in read(SCALESIM):
        as_gemm = row | {"kind": "gemm"}
        assert scalesim(row) == scalesim(as_gemm)


def test_near_onnxim_in_every_row() -> None:
    errors = []
    for row in read(ONNXIM):
        expected = int(row["layer_finish_cycle"])
        errors.append(abs(onnxim(row) - expected) / expected)
    assert max(errors) < 0.10
    assert sum(errors) / len(errors) < 0.05


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The oracles; of those that take seconds a few rows."""
    folder = tmp_path / "sample"
    for oracle in ORACLES:
        lines = (DEFAULT / oracle.file).read_text().splitlines(keepends=True)
        target = folder / oracle.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(lines if oracle.passes > 1 else lines[:5]))
    return folder


def test_the_command_writes_both_files(
    tmp_path: Path, sample: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(sample)]) == 0
    assert "scalesim_v3_calc.csv" in capsys.readouterr().out
    report = {each["file"]: each for each in json.loads(Path("validate.json").read_text())}
    first = report["npu/scalesim_v3_calc.csv"]
    assert first["exact_rows"] == first["rows"] == 60
    assert first["max_err_pct"] == first["excluded"] == 0
    assert first["speed_ratio"] > 10_000
    banks = report["pim/pimsimulator_cycles.csv"]
    assert banks["exact_rows"] == banks["rows"] == banks["met"] == 65
    assert banks["unpredicted"] == banks["bugs"] == 0
    assert banks["speed_ratio"] >= banks["first_speed_ratio"] > 200
    analog = report["analog/aihwkit.csv"]
    assert analog["max_err_pct"] < 5 and analog["speed_ratio"] is not None
    with open("predictions.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0] == {
        "file": "npu/scalesim_v3_calc.csv",
        "row": "0",
        "quantity": "total_cycles",
        "value": "62",
    }


def test_blank_results_change_no_prediction(tmp_path: Path, sample: Path) -> None:
    blank, here, there = (tmp_path / name for name in ("blank", "here", "there"))
    for folder in (here, there):
        folder.mkdir()
    for oracle in ORACLES:
        rows = read(sample / oracle.file)
        target = blank / oracle.file
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            for row in rows:
                writer.writerow({k: v if k in oracle.inputs else "" for k, v in row.items()})
    validate(sample, here)
    for report in validate(blank, there):
        assert report.max_err_pct is report.exact_rows is report.speed_ratio is None
    assert (here / "predictions.csv").read_text() == (there / "predictions.csv").read_text()


def test_absent_files_are_left_out(tmp_path: Path) -> None:
    assert validate(tmp_path, tmp_path) == []
    assert json.loads((tmp_path / "validate.json").read_text()) == []


def test_a_file_that_an_office_program_wrote(tmp_path: Path) -> None:
    (tmp_path / "npu").mkdir()
    text = "config,M,K,N,layer_finish_cycle\r\ntpuv4_128x128_c1_hbm2,256,256,256,\r\n"
    (tmp_path / "npu" / "onnxim_cycles.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (report,) = validate(tmp_path, tmp_path)
    assert (report.rows, report.excluded, report.max_err_pct) == (1, 0, None)
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 2


def test_a_bad_row_is_named_and_left_out(tmp_path: Path, capsys) -> None:
    (tmp_path / "npu").mkdir()
    (tmp_path / "npu" / "onnxim_cycles.csv").write_text(
        "config,M,K,N\ntpuv9_1x1_c1_x,1,1,1\ntpuv4_8x8_c1_x,1,-1,1\ntpuv4_8x8_c1_x,8,8,8\n"
    )
    (report,) = validate(tmp_path, tmp_path)
    assert (report.rows, report.excluded, report.unpredicted) == (3, 0, 2)
    said = capsys.readouterr().err
    assert "row 0" in said
    assert "tpuv9" in said
    assert "column K = '-1'" in said
    predicted = (tmp_path / "predictions.csv").read_text().splitlines()
    assert len(predicted) == 2
    assert predicted[1].startswith("npu/onnxim_cycles.csv,2,layer_finish_cycle,")


def test_no_folder_is_an_error_with_a_hint(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "none")]) != 0
    assert "give the folder" in capsys.readouterr().err


def test_a_broken_file_ends_the_run_after_all_others(tmp_path: Path, monkeypatch, capsys) -> None:
    for name, text in (("npu/scalesim_v3_calc.csv", "\xff"), ("npu/onnxim_cycles.csv", GOOD)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path)]) == InvalidArgument.exit_code
    assert "scalesim_v3_calc.csv is not CSV" in capsys.readouterr().err
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 2


GOOD = "config,M,K,N\ntpuv4_8x8_c1_x,8,8,8\n"


def made_up(row: Mapping[str, str]) -> float:
    """What a row asks for: a number, a refusal, or a bug."""
    if row["ask"] == "refuse":
        raise InvalidArgument("column ask = 'refuse'")
    return float({}[row["ask"]]) if row["ask"] == "bug" else float(row["ask"])


SAMPLE = Oracle("made/up.csv", ("ask",), "result", "result", made_up, allowed=within(0.005))


def test_a_bug_is_of_its_row_alone(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(validator, "ORACLES", (SAMPLE,))
    monkeypatch.chdir(tmp_path)
    Path("made").mkdir()
    Path("made/up.csv").write_text(
        "ask,result,status\n1,1,ok\nbug,1,ok\nrefuse,1,ok\nnan,1,\nbug,1,failed\n200,201,ok\n2,3,ok\n"
    )
    assert main([str(tmp_path)]) == Internal.exit_code
    said = capsys.readouterr()
    assert "made/up.csv, row 1 is left out by a bug: KeyError: 'bug'" in said.err
    assert "made_up" in said.err  # where in the code
    assert "made/up.csv, row 2 is left out: column ask" in said.err
    assert "row 3 is left out by a bug: the prediction is nan" in said.err
    (report,) = json.loads(Path("validate.json").read_text())
    expected = {"rows": 7, "excluded": 1, "unpredicted": 3, "bugs": 2, "exact_rows": 1, "met": 2}
    assert {key: report[key] for key in expected} == expected
    rows = [line.split(",")[1] for line in Path("predictions.csv").read_text().splitlines()]
    assert rows == ["row", "0", "5", "6"]


def test_rows_that_expect_nothing_are_compared_too() -> None:
    rows = [{"result": text} for text in ("0", "0.000000", "", "nan")]
    report = compare(SAMPLE, rows, [0.0, 0.5, 0.5, 0.5], 1.0)
    assert (report.met, report.exact_rows, report.max_err_pct) == (1, 1, 50.0)


@pytest.mark.parametrize(
    ("value", "row", "met"),
    [
        (0.106, {"deviation": "0.004", "seeds": "4"}, 1),  # three times 0.002
        (0.107, {"deviation": "0.004", "seeds": "4"}, 0),
        (0.100001, {"deviation": "0", "seeds": "4"}, 1),
        (0.100002, {}, 0),
    ],
)
def test_statistics_are_met_within_their_standard_errors(
    value: float, row: dict[str, str], met: int
) -> None:
    oracle = Oracle(
        "a", (), "result", "result", made_up, allowed=standard_errors("deviation"), rounding=1e-9
    )
    assert compare(oracle, [row | {"result": "0.1"}], [value - 1e-9], 1.0).met == met


def test_a_run_that_is_killed_leaves_what_it_had(tmp_path: Path) -> None:
    """Its third row takes all memory there is: as the kernel sees it, a kill."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made/up.csv").write_text("ask,result\n1,\n2,\n3,\n4,\n")
    script = """
import os, signal
from pathlib import Path
from host_daemon.devices import validate
from host_daemon.devices.oracle import Oracle

def predict(row):
    if row["ask"] == "3":
        os.kill(os.getpid(), signal.SIGKILL)
    return float(row["ask"])

validate.ORACLES = (
    Oracle("made/up.csv", ("ask",), "result", "y", predict, rate=lambda row: 1.0, passes=1),
)
validate.validate(Path.cwd(), Path.cwd())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines[1:] == ["made/up.csv,0,y,1.0", "made/up.csv,1,y,2.0"]
    assert json.loads((tmp_path / "validate.json").read_text()) == []


def test_memory_bound_rows_may_differ_more() -> None:
    oracle = next(each for each in ORACLES if each.file.endswith("onnxim_cycles.csv"))
    row = {"config": "tpuv4_128x128_c1_hbm2", "M": "4096", "K": "4096", "N": "4096"}
    assert oracle.allowed(row, 1000.0) == pytest.approx(100.0)
    assert oracle.allowed(row | {"M": "1"}, 1000.0) == pytest.approx(150.0)
