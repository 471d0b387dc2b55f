"""Compares the models with reference results: ``python -m host_daemon.devices.validate
[ORACLES]``.

Always writes ``./predictions.csv`` (``file,row,quantity,value``; rows counted from 0, files
relative to ORACLES) and ``./validate.json``, a list of ``{file, rows, excluded, max_err_pct,
mean_err_pct, exact_rows, speed_ratio, first_speed_ratio}``: the reference's CPU time over that of
our best pass over all rows, and over that of the first, when nothing is known yet. Where result
columns are blank it only predicts, and what would compare is null. Files that are not there are
left out. ``excluded`` counts rows that
the reference itself did not finish (``status`` is not ok).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from host_daemon.devices.npu.oracles import ORACLES as NPU
from host_daemon.devices.nvm.oracles import ORACLES as NVM
from host_daemon.devices.oracle import Oracle, number
from host_daemon.devices.pim.aim.oracles import ORACLES as AIM
from host_daemon.devices.pim.hbm.oracles import ORACLES as HBM_PIM
from vaccel.errors import HostFault, InvalidArgument, NotFound, VaccelError

ORACLES: Final[tuple[Oracle, ...]] = (*NPU, *HBM_PIM, *AIM, *NVM)
DEFAULT: Final = Path(__file__).parents[2] / "tests" / "oracles"

Row = dict[str, str]


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


def read(path: Path) -> list[Row]:
    """The rows of a file. Raises HostFault or InvalidArgument naming it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file)]
    except OSError as error:
        raise HostFault(f"oracle {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"oracle {path} is not CSV: {error}") from error


def _pass(oracle: Oracle, rows: Sequence[Row]) -> list[float | VaccelError]:
    values: list[float | VaccelError] = []
    for row in rows:
        try:
            values.append(oracle.predict(row))
        except VaccelError as error:
            values.append(error)
    return values


def predict(oracle: Oracle, rows: Sequence[Row]) -> tuple[list[float | VaccelError], float, float]:
    """Predictions of all rows, from their input columns only, and the CPU seconds of the best and
    of the first pass.

    A row that cannot be predicted has its error in place of a value.
    """
    inputs = [{key: row.get(key, "") for key in oracle.inputs} for row in rows]
    spent: list[float] = []
    values: list[float | VaccelError] = []
    for _ in range(oracle.passes):  # the best of a few is the undisturbed one
        start = time.process_time_ns()
        values = _pass(oracle, inputs)
        spent.append(max((time.process_time_ns() - start) / 1e9, 1e-9))
    return values, min(spent), spent[0]


def compare(
    oracle: Oracle, rows: Sequence[Row], values: Sequence[float | VaccelError], *spent: float
) -> Report:
    """The report of one file; ``spent`` are the CPU seconds of the best and of the first pass."""
    errors, exact, excluded = [], 0, 0
    for row, value in zip(rows, values, strict=True):
        expected = oracle.expected(row.get(oracle.result, ""))
        if isinstance(value, VaccelError) or row.get("status", "") not in ("ok", ""):
            excluded += 1
            continue
        if not expected:
            continue
        difference = abs(value - expected)
        errors.append(100 * difference / abs(expected) if difference > oracle.rounding else 0.0)
        exact += value == expected
    return Report(
        file=oracle.file,
        rows=len(rows),
        excluded=excluded,
        max_err_pct=round(max(errors), 4) if errors else None,
        mean_err_pct=round(sum(errors) / len(errors), 4) if errors else None,
        exact_rows=exact if errors else None,
        speed_ratio=_speed_ratio(oracle, rows, values, spent[0]),
        first_speed_ratio=_speed_ratio(oracle, rows, values, spent[-1]) if oracle.seconds else None,
    )


def _speed_ratio(
    oracle: Oracle, rows: Sequence[Row], values: Sequence[float | VaccelError], spent: float
) -> float | None:
    """The reference's CPU time over ours; of products of one size where it gives rates."""
    if oracle.rate is None:
        seconds = [number(row.get(oracle.seconds, "")) for row in rows] if oracle.seconds else []
        theirs = sum(each for each in seconds if each)
        return round(theirs / spent, 1) if theirs else None
    theirs, ours = 0.0, 0.0
    for row, value in zip(rows, values, strict=True):
        rate = number(row.get(oracle.rates, ""))
        if rate and not isinstance(value, VaccelError):
            theirs += 1 / rate
            ours += 1 / oracle.rate({key: row.get(key, "") for key in oracle.inputs})
    return round(theirs / ours, 1) if ours else None


def validate(folder: Path, into: Path) -> list[Report]:
    """Predict every file of a folder that there is; write both results. Raises NotFound,
    HostFault.
    """
    if not folder.is_dir():
        raise NotFound(f"no folder of oracles {folder}", hint="give the folder as the argument")
    reports: list[Report] = []
    lines: list[tuple[str, int, str, float]] = []
    for oracle in ORACLES:
        path = folder / oracle.file
        if not path.is_file():
            continue
        rows = read(path)
        values, *spent = predict(oracle, rows)
        reports.append(compare(oracle, rows, values, *spent))
        for index, value in enumerate(values):
            if isinstance(value, VaccelError):
                print(f"{oracle.file}, row {index} is left out: {value}", file=sys.stderr)
            else:
                lines.append((oracle.file, index, oracle.quantity, value))
    try:
        with (into / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("file", "row", "quantity", "value"))
            writer.writerows(lines)
        content = json.dumps([asdict(report) for report in reports], indent=2)
        (into / "validate.json").write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise HostFault(f"results cannot be written to {into}: {error.strerror}") from error
    return reports


def _show(reports: Sequence[Report]) -> str:
    lines = [
        f"{'file':36} {'rows':>5} {'exact':>6} {'mean %':>8} {'max %':>8} {'speed':>10}"
        f" {'at first':>9}"
    ]
    for each in reports:
        errors = (each.exact_rows, each.mean_err_pct, each.max_err_pct)
        cells = (*errors, each.speed_ratio, each.first_speed_ratio)
        shown = ["-" if cell is None else str(cell) for cell in cells]
        lines.append(
            f"{each.file:36} {each.rows:>5} {shown[0]:>6} {shown[1]:>8} {shown[2]:>8}"
            f" {shown[3]:>10} {shown[4]:>9}"
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
        print(_show(validate(given.oracles, Path.cwd())))
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
