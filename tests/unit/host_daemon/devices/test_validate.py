from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from host_daemon.devices.npu.oracles import onnxim, scalesim
from host_daemon.devices.validate import DEFAULT, ORACLES, main, read, validate

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
    assert banks["exact_rows"] == banks["rows"] == 65
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
    assert (report.rows, report.excluded) == (3, 2)
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
