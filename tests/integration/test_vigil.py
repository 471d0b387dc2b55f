"""A worker that looks at its rings for a moment misses nothing when it stops."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.integration.aperture_host import host

COUNT = 50_000


async def test_nothing_that_comes_when_a_vigil_ends_is_missed(tmp_path: Path) -> None:
    async with host(tmp_path) as served, asyncio.timeout(300):
        app = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("vigilant.py")),
            served.address,
            str(COUNT),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await app.communicate()
        assert app.returncode == 0
        assert served.queues.totals.descriptors == COUNT
        assert served.queues.totals.malformed == 0
        # Some went without a ring and some with one, or nothing was shown.
        assert COUNT // 1000 < int(out) < COUNT * 999 // 1000, out
