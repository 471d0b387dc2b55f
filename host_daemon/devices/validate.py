"""Compares the models with reference results: ``python -m host_daemon.devices.validate
[ORACLES]``.

Always writes ``./predictions.csv`` (``file,row,quantity,value``; rows counted from 0, files
relative to ORACLES) and ``./validate.json``, a list of ``{file, rows, excluded, max_err_pct,
mean_err_pct, exact_rows, speed_ratio, first_speed_ratio, unpredicted, bugs, met}``: the
reference's CPU time over that of our best pass over all rows, and over that of the first, when
nothing is known yet. Where result columns are blank it only predicts, and what would compare is
null. Files that are not there are left out. Both are written as predictions come: a run that is
killed leaves what it had.

``excluded`` counts rows that the reference itself did not finish (``status`` is not ok).
``unpredicted`` counts those of the others that have no prediction, each named on standard error
with the reason; ``bugs`` those of them that an error in our code left without one: the run goes on,
and ends with the exit code of an ``Internal`` error. ``met`` counts rows within what is accepted of
their file: equal for SCALE-Sim, 10 % for ONNXim (15 % where memory bounds it), 0.5 % for PIM, three
standard errors or 1e-6 for the analog files. A row that expects 0 has no relative error: its
difference is taken relative to 1e-6 there, or to 1 where rows are counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

from host_daemon.devices.npu.oracles import ORACLES as NPU
from host_daemon.devices.nvm.oracles import ORACLES as NVM
from host_daemon.devices.oracle import Oracle, cell
from host_daemon.devices.pim.aim.oracles import ORACLES as AIM
from host_daemon.devices.pim.hbm.oracles import ORACLES as HBM_PIM
from vaccel.errors import HostFault, Internal, InvalidArgument, NotFound, VaccelError

ORACLES: Final[tuple[Oracle, ...]] = (*NPU, *HBM_PIM, *AIM, *NVM)
DEFAULT: Final = Path(__file__).parents[2] / "tests" / "oracles"

Row = dict[str, str]
Value = float | VaccelError


@dataclass(frozen=True, slots=True)
class Report:
    """How one file compares. Percentages and ratios are None where the reference is blank."""

    file: str
    rows: int
    excluded: int
    max_err_pct: float | None
    mean_err_pct: float | None
    exact_rows: int | None
    speed_ratio: float | None
    first_speed_ratio: float | None = None
    unpredicted: int = 0
    bugs: int = 0
    met: int | None = None


def read(path: Path) -> list[Row]:
    """The rows of a file. Raises HostFault or InvalidArgument naming it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file)]
    except OSError as error:
        raise HostFault(f"oracle {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"oracle {path} is not CSV: {error}") from error


def _guarded(call: Callable[[Row], float], row: Row) -> Value:
    """A number, or why there is none; what is no error of the row is an Internal one of ours."""
    try:
        value = call(row)
        if math.isfinite(value):
            return value
        return Internal(f"the prediction is {value}")
    except VaccelError as error:
        return error
    except Exception as error:  # one row must not end the run
        bug = Internal(f"{type(error).__name__}: {error}")
        bug.__cause__ = error
        return bug


def predict(
    oracle: Oracle,
    rows: Sequence[Row],
    keep: Callable[[int, Value], None] = lambda index, value: None,
) -> tuple[list[Value], float, float]:
    """Predictions of all rows, from their input columns only, and the CPU seconds of the best and
    of the first pass.

    A row that cannot be predicted has its error in place of a value. ``keep`` is told each row's as
    soon as it is known, or after the passes where those are timed.
    """
    inputs = [{key: row.get(key, "") for key in oracle.inputs} for row in rows]
    spent: list[float] = []
    values: list[Value] = []
    for _ in range(oracle.passes):  # the best of a few is the undisturbed one
        start = time.process_time_ns()
        values = []
        for index, row in enumerate(inputs):
            values.append(_guarded(oracle.predict, row))
            if oracle.rate:
                keep(index, values[-1])
        spent.append(max((time.process_time_ns() - start) / 1e9, 1e-9))
    if not oracle.rate:
        for index, value in enumerate(values):
            keep(index, value)
    return values, min(spent), spent[0]


def _finished(row: Row) -> bool:
    """Whether the reference finished a row."""
    return row.get("status", "") in ("ok", "")


def compare(
    oracle: Oracle, rows: Sequence[Row], values: Sequence[Value], *spent: float
) -> Report:
    """The report of one file; ``spent`` are the CPU seconds of the best and of the first pass."""
    errors, exact, met = [], 0, 0
    failed = []
    for row, value in zip(rows, values, strict=True):
        if not _finished(row):
            continue
        if isinstance(value, VaccelError):
            failed.append(value)
            continue
        expected = oracle.expected(row.get(oracle.result, ""))
        if expected is None:
            continue
        difference = abs(value - expected)
        scale = abs(expected) or oracle.rounding or 1.0
        errors.append(100 * difference / scale if difference > oracle.rounding else 0.0)
        exact += value == expected
        met += difference <= oracle.allowed(row, expected)
    return Report(
        file=oracle.file,
        rows=len(rows),
        excluded=sum(not _finished(row) for row in rows),
        max_err_pct=round(max(errors), 4) if errors else None,
        mean_err_pct=round(sum(errors) / len(errors), 4) if errors else None,
        exact_rows=exact if errors else None,
        speed_ratio=_speed_ratio(oracle, rows, values, spent[0]),
        first_speed_ratio=_speed_ratio(oracle, rows, values, spent[-1]) if oracle.seconds else None,
        unpredicted=len(failed),
        bugs=sum(isinstance(value, Internal) for value in failed),
        met=met if errors else None,
    )


def _speed_ratio(
    oracle: Oracle, rows: Sequence[Row], values: Sequence[Value], spent: float
) -> float | None:
    """The reference's CPU time over ours; of products of one size where it gives rates.

    Only of rows that were predicted: what is refused takes no time.
    """
    predicted = [
        row for row, value in zip(rows, values, strict=True) if not isinstance(value, VaccelError)
    ]
    if oracle.rate is None:
        seconds = [cell(row.get(oracle.seconds, "")) for row in predicted]
        theirs = sum(each for each in seconds if each)
        return round(theirs / spent, 1) if theirs else None
    theirs, ours = 0.0, 0.0
    for row in predicted:
        rate = cell(row.get(oracle.rates, ""))
        if rate:
            measured = _guarded(oracle.rate, {key: row.get(key, "") for key in oracle.inputs})
            if not isinstance(measured, VaccelError):
                theirs += 1 / rate
                ours += 1 / measured
    return round(theirs / ours, 1) if ours else None


def validate(folder: Path, into: Path) -> list[Report]:
    """Predict every file of a folder that there is; write both results as they come.

    Raises NotFound, HostFault; InvalidArgument for a file that is not CSV, after all the others.
    """
    if not folder.is_dir():
        raise NotFound(f"no folder of oracles {folder}", hint="give the folder as the argument")
    reports: list[Report] = []
    broken: list[VaccelError] = []
    try:
        with (into / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            file.write("file,row,quantity,value\n")
            _write_reports(reports, into)
            for oracle in ORACLES:
                path = folder / oracle.file
                if not path.is_file():
                    continue
                try:
                    rows = read(path)
                except VaccelError as error:
                    broken.append(error)
                    continue
                reports.append(_validate_file(oracle, rows, file))
                _write_reports(reports, into)
    except OSError as error:
        raise HostFault(f"results cannot be written to {into}: {error.strerror}") from error
    if broken:
        raise broken[0]
    return reports


def _validate_file(oracle: Oracle, rows: Sequence[Row], file: TextIO) -> Report:
    writer = csv.writer(file, lineterminator="\n")

    def keep(index: int, value: Value) -> None:
        if isinstance(value, VaccelError):
            bug = isinstance(value, Internal)
            if bug and value.__cause__:
                traceback.print_exception(value.__cause__)
            left = "is left out by a bug" if bug else "is left out"
            print(f"{oracle.file}, row {index} {left}: {value}", file=sys.stderr)
            return
        writer.writerow((oracle.file, index, oracle.quantity, value))
        if oracle.rate:  # such rows take seconds
            file.flush()

    values, *spent = predict(oracle, rows, keep)
    file.flush()
    return compare(oracle, rows, values, *spent)


def _write_reports(reports: Sequence[Report], into: Path) -> None:
    content = json.dumps([asdict(report) for report in reports], indent=2)
    (into / "validate.json").write_text(content + "\n", encoding="utf-8")


def _show(reports: Sequence[Report]) -> str:
    lines = [
        f"{'file':36} {'rows':>5} {'exact':>6} {'mean %':>8} {'max %':>8} {'speed':>10}"
        f" {'at first':>9} {'met':>5} {'unpredicted':>11}"
    ]
    for each in reports:
        errors = (each.exact_rows, each.mean_err_pct, each.max_err_pct)
        cells = (*errors, each.speed_ratio, each.first_speed_ratio, each.met)
        shown = ["-" if cell is None else str(cell) for cell in cells]
        lines.append(
            f"{each.file:36} {each.rows:>5} {shown[0]:>6} {shown[1]:>8} {shown[2]:>8}"
            f" {shown[3]:>10} {shown[4]:>9} {shown[5]:>5} {each.unpredicted:>11}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="validate", description="Compare device models with reference simulators."
    )
    parser.add_argument(
        "oracles",
        nargs="?",
        type=Path,
        default=DEFAULT,
        metavar="ORACLES",
        help="a folder of reference results (default: those of this checkout)",
    )
    given = parser.parse_args(arguments)
    try:
        reports = validate(given.oracles, Path.cwd())
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(_show(reports))
    bugs = sum(report.bugs for report in reports)
    if bugs:
        print(f"error: {bugs} rows were left out by bugs, see above", file=sys.stderr)
    return Internal.exit_code if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
