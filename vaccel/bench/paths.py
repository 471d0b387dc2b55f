"""The benchmarks of the fast path: latency of commands, bandwidth of staging arrays.

A latency in a VM says nothing where gRPC, its baseline, is slower than it ever is on an idle
machine: such a run is void, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from vaccel.bench.overhead import THREADS
from vaccel.bench.place import GUEST_MEMORY, WINDOW, open_place
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.result import Result, head
from vaccel.bench.where import Where
from vaccel.errors import HostFault

# An empty gRPC call from a guest takes 2,200 to 4,900 us on an idle machine without KVM.
VOID_GRPC_US: Final = 5000.0
_PROGRAM: Final = "vaccel.bench.paths_guest"


def run(
    bench: str, where: Where, progress: Progress, *, brief: bool = False
) -> dict[str, Any]:
    """Start what is needed, measure, stop: the one object that the benchmark prints.

    ``bench`` is latency or bandwidth; a ``brief`` one takes seconds, and its numbers say little.
    Raises ``vaccel.errors``.
    """
    with PrivateHost(threads=THREADS, progress=progress, window=WINDOW) as host:
        folder = host.folder / "data"
        folder.mkdir()
        (folder / "README").write_text("Nothing is needed here.\n")
        place = open_place(where, host, folder, progress, GUEST_MEMORY)
        found = asdict(Result(*head(bench, where.value)))
        found["machine"]["accelerator"] = host.admin.status().accelerator
        progress(f"measure {bench}", -1.0)
        text = place.run([bench, *(["--brief"] if brief else [])], _PROGRAM)
    try:
        measured: dict[str, Any] = json.loads(text)
    except ValueError as fault:
        raise HostFault(f"the guest program answered {text[:80]!r}: {fault}") from fault
    if bench == "latency":
        measured |= voided(where, measured)
    return found | {"rows": []} | measured


def voided(where: Where, latency: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a run of ``latency`` is void, and why; an empty reason where it is not."""
    found = latency["grpc_p50_us"]
    void = where is Where.VM and found > VOID_GRPC_US
    why = (
        f"gRPC's p50 is {found:,.0f} us, and more than {VOID_GRPC_US:,.0f} is a busy machine:"
        " run it again on an idle one"
    )
    return {"void": void, "void_reason": why if void else ""}
