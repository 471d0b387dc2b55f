"""The agent's side is played here by a peer that misbehaves in one way at a time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from host_daemon.core.hypervisor import Exit, Output
from host_daemon.hypervisors.qmp.command import run
from host_daemon.hypervisors.qmp.guest_agent import GuestAgent
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, TimedOut, Unavailable, VaccelError

Reply = Callable[[dict[str, Any]], bytes]


def line(answer: object) -> bytes:
    return json.dumps({"return": answer}).encode() + b"\n"


@asynccontextmanager
async def agent_that(reply: Reply, path: Path) -> AsyncIterator[GuestAgent]:
    """An agent whose guest answers what ``reply`` gives for each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # As qemu-ga on a port that was open before: there is something old in it.
        writer.write(b'{"return": "old"}\n{"half of an old ans')
        while text := await reader.readline():
            request = json.loads(text.lstrip(b"\xff"))
            if request["execute"] == "guest-sync-delimited":
                writer.write(b"\xff" + line(request["arguments"]["id"]))
            else:
                writer.write(reply(request))
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    agent = GuestAgent("one", path, lambda: 77)
    agent.set_present(True)
    async with server:
        try:
            yield agent
        finally:
            await agent.close()


async def test_old_answers_are_skipped(tmp_path: Path) -> None:
    async with agent_that(lambda request: line(request["execute"]), tmp_path / "s") as agent:
        assert await agent.request("guest-ping") == "guest-ping"
        assert await agent.request("guest-info") == "guest-info"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"not json\n", Unavailable),
        (b"[" * 50_000 + b"\n", Unavailable),
        (b"9" * 50_000 + b"\n", Unavailable),
        (b"\xff\xfe\n", Unavailable),
        (b"[1, 2]\n", HostFault),
        (b'{"error": "no"}\n', HostFault),
        (b'{"error": {"desc": "unknown command"}}\n', HostFault),
        (b"x" * 200_000, Exhausted),
    ],
)
async def test_hostile_answers(tmp_path: Path, reply: bytes, error: type[VaccelError]) -> None:
    replies = [reply, line("fine")]
    async with agent_that(lambda request: replies.pop(0), tmp_path / "s") as agent:
        with pytest.raises(error, match="VM one"):
            await agent.request("guest-info")
        assert await agent.request("guest-info") == "fine"


async def test_no_answer(tmp_path: Path) -> None:
    replies = [b"", line("late") + line("fine")]
    async with agent_that(lambda request: replies.pop(0), tmp_path / "s") as agent:
        with pytest.raises(TimedOut, match="VM one did not answer guest-info"):
            await agent.request("guest-info", timeout=0.05)
        assert await agent.request("guest-info") == "late"


async def test_an_agent_that_goes_fails_who_waits(tmp_path: Path) -> None:
    async with agent_that(lambda request: b"", tmp_path / "s") as agent:
        waiting = asyncio.ensure_future(agent.request("guest-info"))
        await asyncio.sleep(0)
        agent.set_present(False)
        with pytest.raises(Unavailable, match="VM one"):
            await waiting
        with pytest.raises(Unavailable, match="VM one is not there"):
            await agent.request("guest-info")


async def result(agent: GuestAgent) -> list[Output | Exit]:
    items = run(agent, "one", ["true"], user="", stdin=b"", timeout=5)
    return [item async for item in items]


def commands(*states: object) -> Reply:
    left = list(states)

    def reply(request: dict[str, Any]) -> bytes:
        return line({"pid": 5} if request["execute"] == "guest-exec" else left.pop(0))

    return reply


async def test_a_command_s_results(tmp_path: Path) -> None:
    out = base64.b64encode(b"out").decode()
    ended = {"exited": True, "exitcode": 3, "out-data": out}
    async with agent_that(commands({"exited": False}, ended), tmp_path / "s") as agent:
        assert await result(agent) == [Output("stdout", b"out"), Exit(3)]


@pytest.mark.parametrize(
    "state",
    [
        [],
        {"exited": True},
        {"exited": True, "exitcode": "0"},
        {"exited": True, "exitcode": -1},
        {"exited": True, "signal": 1 << 40},
        {"exited": True, "exitcode": 0, "out-data": "%%%"},
        {"exited": True, "exitcode": 0, "err-data": 5},
    ],
)
async def test_results_that_make_no_sense(tmp_path: Path, state: object) -> None:
    async with agent_that(commands(state), tmp_path / "s") as agent:
        with pytest.raises(Unavailable, match="VM one"):
            await result(agent)


async def test_output_beyond_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_daemon.hypervisors.qmp.command.ANSWER_BYTES", bounds.MIB)
    ended = {"exited": True, "exitcode": 0, "out-data": "A" * (2 * bounds.MIB)}
    async with agent_that(commands(ended), tmp_path / "s") as agent:
        with pytest.raises(Exhausted, match="VM one"):
            await result(agent)
