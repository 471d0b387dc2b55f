"""A guest reaches one socket of its host, and nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conformance.guest import Guest

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="session"),
]

# Tries [kind, host, port] each, at once; prints those that answered. "" connects and no more.
KNOCK = """
import concurrent.futures, json, socket, sys
def answers(target):
    kind, host, port = target
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sort = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, sort) as client:
        client.settimeout(3)
        try:
            client.connect((host, port))
            if kind == "udp":
                # A query for the root's name servers: any resolver answers it.
                client.send(bytes.fromhex("1234010000010000000000000000020001"))
                client.recv(512)
            return True
        except OSError:
            return False
targets = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    results = list(pool.map(answers, targets))
print(json.dumps([target for target, answered in zip(targets, results) if answered]))
"""

TALK = """
import socket, time
def connect():
    return socket.create_connection(("10.0.2.100", 7443), timeout=30)
with connect() as idle:
    with connect() as other:
        other.sendall(b"hello\\n")
        print(other.recv(100))
    # Silence is what is tested here, not waited out: a relay may not cut a connection for it.
    time.sleep(1.5)
    idle.sendall(b"still here\\n")
    print(idle.recv(100))
with connect() as half:
    half.sendall(b"no more from me\\n")
    half.shutdown(socket.SHUT_WR)
    print(half.recv(100))
many = [connect() for _ in range(16)]
for client in many:
    client.sendall(b"x" * 50_000 + b"\\n")
print(sum(len(client.makefile("rb").readline()) for client in many))
"""


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """A port of the host that does answer, on the address to which user networking leads."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def listening_ports() -> set[int]:
    """All TCP ports on which the host listens (proc(5), state 0A)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def own_addresses() -> set[str]:
    """The host's addresses on its networks; asks nobody, because a datagram is never sent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return set()
        return {probe.getsockname()[0]}


async def answering(guest: Guest, targets: list[tuple[str, str, int]]) -> list[list[object]]:
    out, err, code = await guest.run("python3", "-c", KNOCK, stdin=json.dumps(targets).encode())
    assert (err, code) == (b"", 0)
    result: list[list[object]] = json.loads(out)
    return result


async def test_the_forward_carries_what_a_long_connection_needs(guest: Guest) -> None:
    out, err, code = await guest.run("python3", "-c", TALK, user="app")
    assert (err, code) == (b"", 0)
    hello, idle, half, total = out.splitlines()
    assert hello == rb"b'HELLO\n'"
    assert idle == rb"b'STILL HERE\n'"
    assert half == rb"b'NO MORE FROM ME\n'"
    assert int(total) == 16 * 50_001


async def test_nothing_else_answers(guest: Guest, listener: int) -> None:
    # It would answer, if the guest got there.
    with socket.create_connection(("127.0.0.1", listener), timeout=5):
        pass
    ports = {listener, 22, 53, 80, 443, 7442, 7443, 7444, *sorted(listening_ports())[:200]}
    hosts = {"10.0.2.2", "10.0.2.3", *own_addresses()}
    targets = [("tcp", host, port) for host in sorted(hosts) for port in sorted(ports)]
    targets += [("tcp", "10.0.2.100", port) for port in sorted(ports - {7443})]
    targets += [("tcp", "198.51.100.1", 80), ("tcp", "fec0::2", listener)]
    targets += [("udp", host, 53) for host in ("10.0.2.3", "10.0.2.2", "198.51.100.1")]
    allowed = ("tcp", "10.0.2.100", 7443)
    assert await answering(guest, [*targets, allowed]) == [list(allowed)]
