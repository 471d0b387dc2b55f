"""docs/lifecycle.md shows the tables of moves as the code has them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from host_daemon.core.lifecycle import VF_MOVES, VM_MOVES

PAGE = Path(__file__).parents[4] / "docs" / "lifecycle.md"


def table(moves: Mapping[Any, Mapping[Any, Enum]]) -> str:
    rows = [
        f"| {state.value} | {event.value} | {after.value} |"
        for state, events in moves.items()
        for event, after in events.items()
    ]
    return "\n".join(["| in state | the event | leads to |", "| --- | --- | --- |", *rows])


@pytest.mark.parametrize("moves", [VF_MOVES, VM_MOVES], ids=["vf", "vm"])
def test_the_page_has_the_table(moves: Mapping[Any, Mapping[Any, Enum]]) -> None:
    wanted = table(moves)
    assert wanted in PAGE.read_text(), f"put this into {PAGE.name}:\n\n{wanted}"
