"""While a context's stream is broken, its server may not know it yet: calls and closing wait."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from vaccel import bounds
from vaccel.errors import NotFound, Unavailable
from vaccel.rpc.proxy import GrpcCompute

CONTEXT = "ctx-1"


class Server:
    """What a stub reaches: answers, or raises what it is told to, in turn."""

    def __init__(self, *faults: Exception) -> None:
        self.asked: list[str] = []
        self._faults = list(faults)

    async def unary(self, method: str, _request: Any, _timeout: float) -> Any:
        self.asked.append(method)
        if self._faults:
            raise self._faults.pop(0)


def compute(server: Server) -> GrpcCompute:
    made = GrpcCompute(grpc.aio.insecure_channel("unix:/nobody"), keeps=True)
    made._stub = server  # type: ignore[assignment]
    return made


async def test_a_call_is_not_made_before_the_context_is_held_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    client = compute(server)
    loose = client._loose[CONTEXT] = asyncio.Event()
    monkeypatch.setattr(bounds, "RETRY_SECONDS", 0.01)
    with pytest.raises(Unavailable, match="not taken up again"):
        await client.free(CONTEXT, 1)
    assert server.asked == []
    del client._loose[CONTEXT]
    loose.set()
    await client.free(CONTEXT, 1)
    assert server.asked == ["Free"]


async def test_one_that_a_new_server_does_not_know_yet_is_not_lost() -> None:
    server = Server(NotFound(f"no context {CONTEXT!r}"), NotFound(f"no context {CONTEXT!r}"))
    client = compute(server)
    calling = asyncio.create_task(client.free(CONTEXT, 1))
    client._loose[CONTEXT] = asyncio.Event()  # the break is seen while the call is under way
    client._loose[CONTEXT].set()
    with pytest.raises(Unavailable, match="not taken up again"):
        await calling
    del client._loose[CONTEXT]
    with pytest.raises(NotFound):
        await client.free(CONTEXT, 1)


async def test_closing_is_tried_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(Unavailable("away"), Unavailable("away"))
    await compute(server).close_context(CONTEXT)
    assert server.asked == ["CloseContext"] * 3
    monkeypatch.setattr(bounds, "CLOSE_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await compute(Server(Unavailable("away"))).close_context(CONTEXT)


async def test_closing_waits_until_the_context_is_held_again() -> None:
    server = Server()
    client = compute(server)
    loose = client._loose[CONTEXT] = asyncio.Event()
    closing = asyncio.create_task(client.close_context(CONTEXT))
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.asked == []
    loose.set()
    await closing
    assert server.asked == ["CloseContext"]
