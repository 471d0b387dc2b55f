"""What the one object that a benchmark prints begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaccel.bench.overhead import describe_machine, describe_versions


@dataclass(frozen=True, slots=True)
class Result:
    """Which benchmark, where its program ran, and what its numbers depend on.

    A benchmark's own result follows with its rows.
    """

    bench: str
    where: str
    machine: dict[str, Any]
    versions: dict[str, str]


def head(bench: str, where: str = "local") -> tuple[str, str, dict[str, Any], dict[str, str]]:
    """The values of those fields, here and now."""
    return bench, where, describe_machine(), describe_versions()
