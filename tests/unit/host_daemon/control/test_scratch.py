"""Where a worker cannot have memory of its own for traces, its folder comes and goes with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from host_daemon.control.workers import Workers, WorkerSettings
from host_daemon.core.records import VfRecord, VfState
from host_daemon.worker.spec import Descriptors, WorkerSpec


def leave_a_trace(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "trace.json").write_text("{}")


class NoWorker(Exception):
    pass


class Spawner:
    """Takes the spec, and starts nothing."""

    def __init__(self) -> None:
        self.spec: WorkerSpec

    async def spawn(self, spec: WorkerSpec, fds: Descriptors) -> int:
        self.spec = spec
        if spec.scratch:
            leave_a_trace(Path(spec.scratch))
        raise NoWorker


class Keeper:
    def __init__(self) -> None:
        self.windows: dict[str, object] = {}

    async def put(self, vf: str, window: object) -> None:
        self.windows[vf] = window

    async def drop(self, vf: str) -> None:
        self.windows.pop(vf).close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("uid", [None, 65534])
async def test_scratch(tmp_path: Path, uid: int | None) -> None:
    vf = VfRecord(
        id="vf-1", name="vf-1", tenant="t", pf="pf-1", profile="npu.1c.6g", cores=(0,),
        memory_bytes=1 << 30, window_bytes=1 << 20, state=VfState.CREATING, epoch=1,
        created_unix_ns=0,
    )  # fmt: skip
    spawner = Spawner()
    workers = Workers(spawner, Keeper(), WorkerSettings(tmp_path, 1, uid))  # type: ignore[arg-type]
    with pytest.raises(NoWorker):
        await workers.spawn(vf, Path("card.toml"), b"")
    assert bool(spawner.spec.scratch) == (uid is None)  # root's workers mount memory of their own
    await workers.end("vf-1")
    assert os.listdir(tmp_path) == []
