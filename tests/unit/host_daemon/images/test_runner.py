from __future__ import annotations

import asyncio

import pytest

from host_daemon.images.runner import run_program
from vaccel.errors import HostFault, TimedOut


async def test_output_and_lines() -> None:
    lines: list[str] = []
    output = await run_program(
        ["sh", "-c", "echo one; echo two >&2"], timeout=10, on_line=lines.append
    )
    assert output == "one\n"
    assert sorted(lines) == ["one", "two"]


async def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostFault) as caught:
        await run_program(["mksquashfs"], timeout=10)
    assert caught.value.message == "program mksquashfs is missing"
    assert caught.value.hint == "install it: apt-get install squashfs-tools"


async def test_a_failure_says_what_the_program_said() -> None:
    with pytest.raises(HostFault, match=r"sh failed with 3: no room \| at all"):
        await run_program(["sh", "-c", "echo no room >&2; echo at all >&2; exit 3"], timeout=10)


async def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    with pytest.raises(TimedOut, match=r"sh did not end within 0\.2 s"):
        await run_program(["sh", "-c", "sleep 1000 & wait"], timeout=0.2)


async def test_a_cancelled_call_takes_the_program_along() -> None:
    started = asyncio.Event()
    task = asyncio.create_task(
        run_program(
            ["sh", "-c", "trap 'echo ended; exit' TERM; echo up; while :; do sleep 0.01; done"],
            timeout=60,
            on_line=lambda line: started.set(),
        )
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
