"""The benchmarks of the fast path: latency of commands, bandwidth of staging arrays."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from vaccel.bench.overhead import THREADS
from vaccel.bench.place import open_place
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.result import Result, head
from vaccel.bench.where import Where
from vaccel.errors import HostFault

GUEST_MEMORY: Final = 2 << 30
WINDOW: Final = "512 MiB"
_PROGRAM: Final = "vaccel.bench.paths_guest"


def run(bench: str, where: Where, progress: Progress) -> dict[str, Any]:
    """Start what is needed, measure, stop: the one object that the benchmark prints.

    ``bench`` is latency or bandwidth. Raises ``vaccel.errors``.
    """
    with PrivateHost(threads=THREADS, progress=progress, window=WINDOW) as host:
        folder = host.folder / "data"
        folder.mkdir()
        (folder / "README").write_text("Nothing is needed here.\n")
        place = open_place(where, host, folder, progress, GUEST_MEMORY)
        found = asdict(Result(*head(bench, where.value)))
        found["machine"]["accelerator"] = host.admin.status().accelerator
        progress(f"measure {bench}", -1.0)
        text = place.run([bench], _PROGRAM)
    try:
        measured: dict[str, Any] = json.loads(text)
    except ValueError as fault:
        raise HostFault(f"the guest program answered {text[:80]!r}: {fault}") from fault
    return found | {"rows": []} | measured
