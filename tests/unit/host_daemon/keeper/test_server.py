"""The keeper's loop, in a thread."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from host_daemon.control.processes import descriptors
from host_daemon.keeper import protocol
from host_daemon.keeper.protocol import Op, Reply, Request, Status
from host_daemon.keeper.server import CLIENTS, Server


class Keeper:
    def __init__(self, path: Path) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(path))
        listener.listen(CLIENTS)
        self.server = Server(listener, str(path), look=0.01)
        self.thread = threading.Thread(target=self.server.run)
        self.client = self.connect()
        self.thread.start()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(10)
        client.connect(str(self.path))
        return client

    def ask(self, request: Request, *given: int) -> tuple[Reply, list[int]]:
        socket.send_fds(self.client, [request.encode()], given)
        return self.receive()

    def receive(self) -> tuple[Reply, list[int]]:
        data, found, _, _ = socket.recv_fds(self.client, protocol.REPLY_BYTES, 3)
        return protocol.parse_reply(data), list(found)

    def ends(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path / "k")
    yield made
    made.client.close()
    made.path.unlink(missing_ok=True)
    made.ends()


def test_descriptors_come_back_as_the_same_memory(keeper: Keeper) -> None:
    given = [os.memfd_create(str(number)) for number in range(3)]
    for number, fd in enumerate(given):
        os.write(fd, b"memory %d" % number)
    assert keeper.ask(Request(Op.PUT, "vf-1"), *given)[0].status is Status.DONE
    for fd in given:
        os.close(fd)
    keeper.client.close()
    keeper.client = keeper.connect()
    reply, found = keeper.ask(Request(Op.GET, "vf-1"))
    assert reply.status is Status.DONE
    assert [os.pread(fd, 99, 0) for fd in found] == [b"memory %d" % number for number in range(3)]
    for fd in found:
        os.close(fd)


@pytest.mark.parametrize("data", [b"x", bytes(protocol.REQUEST_BYTES), bytes(100_000)])
def test_what_is_no_request_is_refused_and_the_next_one_served(keeper: Keeper, data: bytes) -> None:
    keeper.client.send(data)
    assert keeper.receive()[0].status is Status.MALFORMED
    assert keeper.ask(Request(Op.LIST))[0] == Reply(Status.DONE)


def test_more_descriptors_than_three_are_refused_and_closed(keeper: Keeper) -> None:
    keeper.ask(Request(Op.LIST))  # its end of the connection is open by now
    fds = [os.memfd_create("refused") for _ in range(5)]
    assert keeper.ask(Request(Op.PUT, "vf-1"), *fds)[0].status is Status.MALFORMED
    for fd in fds:
        os.close(fd)
    assert keeper.ask(Request(Op.LIST))[0].names == ()
    # Not by their number: what tests before this one left may go at any moment.
    assert not any("memfd:refused" in link for link in descriptors(os.getpid()).values())


def test_too_many_clients_are_turned_away(keeper: Keeper) -> None:
    others = [keeper.connect() for _ in range(CLIENTS)]
    assert others[-1].recv(1) == b""
    assert keeper.ask(Request(Op.LIST))[0].status is Status.DONE
    for other in others:
        other.close()


def test_it_ends_when_it_holds_nothing_and_nobody_is_there(keeper: Keeper) -> None:
    keeper.client.close()
    keeper.ends()


def test_it_stays_while_it_holds_something_and_ends_when_nobody_can_find_it(keeper: Keeper) -> None:
    given = [os.memfd_create("x") for _ in range(3)]
    keeper.ask(Request(Op.PUT, "vf-1"), *given)
    for fd in given:
        os.close(fd)
    keeper.client.close()
    keeper.thread.join(0.05)
    assert keeper.thread.is_alive()
    keeper.path.unlink()
    keeper.ends()
