"""A VF of the generic card, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from host_daemon.devices import registry
from host_daemon.worker.executor import Executor, VirtualFunction


def make_vf(scratch: Path, memory_bytes: int = 1 << 28) -> VirtualFunction:
    card = registry.load_card(registry.find_card("kcloud-1"))
    profile = replace(card.profiles[0], memory_bytes=memory_bytes)
    counter = iter(range(1, 1 << 20))
    return VirtualFunction(
        id="vf-00000000000000000000000001",
        epoch=3,
        card=card,
        profile=profile,
        model=registry.model(card, card.profiles[0]),
        threads=1,
        scratch=scratch,
        unix_ms=lambda: 1_700_000_000_000,
        random=lambda size: next(counter).to_bytes(size, "big"),
    )


@pytest.fixture
async def executor(tmp_path: Path) -> AsyncIterator[Executor]:
    async with Executor(make_vf(tmp_path)) as made:
        yield made
