"""The keeper's loop: answers daemons on a unix socket, and ends when nobody can need it.

It ends when it holds nothing and nobody is connected, and when its socket's path leads to it no
more: a keeper that no daemon can find would only hold memory.
"""

from __future__ import annotations

import os
import selectors
import socket
from typing import Final

from host_daemon.keeper.protocol import (
    DESCRIPTORS,
    REQUEST_BYTES,
    Reply,
    Status,
    parse_request,
)
from host_daemon.keeper.shelf import Shelf

# A daemon, the next one, and a curious operator.
CLIENTS: Final = 8
# How often to look whether the socket is still there.
LOOK_SECONDS: Final = 2.0


class Server:
    """Serves a listening SOCK_SEQPACKET socket that is bound to ``path``."""

    def __init__(self, listener: socket.socket, path: str, look: float = LOOK_SECONDS) -> None:
        self.shelf = Shelf()
        self._listener, self._path, self._look = listener, path, look
        self._inode = _inode(path)
        self._selector = selectors.DefaultSelector()
        self._clients: set[socket.socket] = set()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until there is no use in it."""
        try:
            while True:
                ready = self._selector.select(self._look)
                for key, _ in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        assert isinstance(key.fileobj, socket.socket)
                        self._serve(key.fileobj)
                idle = not ready and not self._clients and not len(self.shelf)
                if idle or (not ready and _inode(self._path) != self._inode):
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        self._listener.close()
        self.shelf.clear()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if len(self._clients) >= CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._clients.add(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _drop(self, client: socket.socket) -> None:
        self._clients.discard(client)
        self._selector.unregister(client)
        client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            data, given, flags, _ = socket.recv_fds(
                client, REQUEST_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
            if not data:
                return self._drop(client)
            torn = bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC))
            reply, sent = self._answer(data, given, torn)
            socket.send_fds(client, [reply.encode()], list(sent), socket.MSG_NOSIGNAL)
        except OSError:
            # It has gone, or does not take its answers: it may connect again.
            self._drop(client)

    def _answer(self, data: bytes, given: list[int], torn: bool) -> tuple[Reply, tuple[int, ...]]:
        try:
            if torn:
                raise ValueError("longer than any request")
            request = parse_request(data)
        except ValueError:
            for descriptor in given:
                os.close(descriptor)
            return Reply(Status.MALFORMED), ()
        return self.shelf.answer(request, given)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
