from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from host_daemon.hypervisors.qmp.folder import Folder, Record, connect, listen
from host_daemon.hypervisors.qmp.process import Process
from vaccel.errors import HostFault


def spawn(tmp_path: Path, *arguments: str) -> Process:
    return Process.spawn(arguments, tmp_path / "log", ())


async def ended(process: Process) -> None:
    end = asyncio.Event()
    process.watch(end.set)
    await asyncio.wait_for(end.wait(), 10)


async def test_it_has_a_session_of_its_own_and_is_reaped(tmp_path: Path) -> None:
    process = spawn(tmp_path, "sleep", "1000")
    assert os.getsid(process.pid) == process.pid
    assert process.alive
    process.kill()
    await ended(process)
    assert not process.alive
    assert process.ending == "killed by SIGKILL"
    assert str(process.pid) not in os.listdir("/proc")
    process.close()


async def test_how_it_ended(tmp_path: Path) -> None:
    process = spawn(tmp_path, "sh", "-c", "echo words; exit 3")
    await ended(process)
    assert process.ending == "exit code 3"
    assert (tmp_path / "log").read_text() == "words\n"
    process.close()


def test_nothing_of_ours_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        # It stops itself: a program that still starts has its libraries open for a moment.
        process = spawn(tmp_path, "sh", "-c", "kill -STOP $$")
        try:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            names = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        finally:
            process.kill_and_wait(10)
            process.close()
    assert names == {"/dev/null", str(tmp_path / "log")}


def test_found_by_its_record_only(tmp_path: Path) -> None:
    process = spawn(tmp_path, "sleep", "1000")
    record = process.record()
    try:
        found = Process.find(record)
        assert found is not None
        assert found.pid == process.pid
        found.close()
        assert Process.find(replace(record, start_ticks=record.start_ticks + 1)) is None
        assert Process.find(replace(record, boot_id="another boot")) is None
    finally:
        process.kill_and_wait(10)
        process.close()
    assert Process.find(record) is None


def test_the_record_survives_and_damage_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.read_record() is None
    record = Record(12, 345, "boot")
    folder.write_record(record)
    assert folder.read_record() == record
    folder.record.write_text('{"pid": "many"}')
    with pytest.raises(HostFault, match=r"machine\.json"):
        folder.read_record()
    folder.forget()
    assert folder.read_record() is None


def test_sockets_in_a_folder_however_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name"] * 8)
    deep.mkdir(parents=True)
    path = deep / "monitor.sock"
    with listen(path), connect(path):
        assert path.stat().st_mode & 0o777 == 0o600
