"""The demo: both workloads on a VF, each checked against ONNX Runtime on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaccel.bench import data, report
from vaccel.bench.place import open_place
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.reference import Agreement, Reference, compare
from vaccel.bench.where import Where
from vaccel.bench.workloads import cases

# On both sides.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Judged:
    """A workload's run, and what the host thinks of it.

    ``expected`` is the answer of ONNX Runtime, ``truth`` that of a perfect model.
    """

    row: report.Row
    expected: str
    truth: str
    agreement: Agreement

    @property
    def agrees(self) -> bool:
        """All outputs within the bounds, and the same decision."""
        return self.agreement.agrees and self.row.answer == self.expected


def run(where: Where, progress: Progress) -> list[Judged]:
    """Start what is needed, run, compare, stop. Raises ``vaccel.errors``."""
    with PrivateHost(threads=THREADS, progress=progress) as host:
        folder = host.folder / "data"
        folder.mkdir()
        truth = data.prepare(folder, progress)
        place = open_place(where, host, folder, progress)
        progress("run the models on the VF", -1.0)
        rows = report.unpack(place.run(["all", "--json"]))
        progress("run the models on the host", -1.0)
        return judge(rows, folder, truth)


def judge(rows: Sequence[report.Row], folder: Path, truth: Mapping[str, str]) -> list[Judged]:
    """Each row against ONNX Runtime in this process. A row that is missing does not agree."""
    found = {row.model: row for row in rows}
    judged = []
    for case in cases.load("all", folder):
        row = found.get(case.name) or report.Row(case.name, "nothing", 0, 0, 0, 0.0, 0.0, 0.0)
        expected = case.run(Reference(case.model_file, THREADS))
        agreement = compare(row.outputs, expected)
        judged.append(Judged(row, case.decide(expected), truth[case.name], agreement))
    return judged
