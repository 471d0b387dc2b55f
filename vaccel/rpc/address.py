"""Addresses and channels: where a peer listens, and the options that both sides must share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vaccel import bounds, forks
from vaccel.errors import InvalidArgument

if TYPE_CHECKING:
    import grpc

CONTROL: Final = "unix:/run/vacceld/control.sock"
AGENT: Final = "unix:/run/vaccel/agent.sock"

CHANNEL_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_send_message_length", bounds.MESSAGE_BYTES),
    ("grpc.max_receive_message_length", bounds.MESSAGE_BYTES),
    # Two clients of one process must not share a connection: its end tells a server that one has
    # gone.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", int(bounds.BACKOFF_FIRST_SECONDS * 1000)),
    # Despite its name, how long one attempt may take: TLS is slow in an emulated guest.
    ("grpc.min_reconnect_backoff_ms", int(bounds.CALL_SECONDS * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(bounds.BACKOFF_LAST_SECONDS * 1000)),
    ("grpc.enable_http_proxy", 0),
    # A peer that vanished without a word (a paused VM, a killed relay) is noticed within half a
    # minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]

SERVER_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_send_message_length", bounds.MESSAGE_BYTES),
    ("grpc.max_receive_message_length", bounds.MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # Clients ping twice as rarely; more often is abuse, and ends the connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a client trusts: one authority, and the name that the server's certificate must have."""

    ca_pem: bytes
    server_name: str


def check(address: str) -> str:
    """An address gRPC can take: ``unix:/path`` or ``host:port``. Raises InvalidArgument."""
    if address.startswith("unix:/") and len(address) < 112:
        return address
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and 0 < int(port) < 65536:
        return address
    raise InvalidArgument(
        f"address {address!r} is neither unix:/PATH (of at most 107 bytes) nor HOST:PORT",
        hint=f"such as {CONTROL}, or 127.0.0.1:7443",
    )


def open_channel(address: str, trust: Trust | None = None) -> grpc.aio.Channel:
    """A channel to an address; with ``trust`` over TLS that accepts that one authority only.

    Raises WrongState in a forked child whose parent had one.
    """
    forks.check()
    # gRPC's own support starts threads in a forked child, and mostly ends it within milliseconds
    # (SIGABRT). Without, a child that leaves gRPC alone lives. Read when its library is first used.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    channel = _channel(address, trust)
    forks.hold(channel)
    return channel


def _channel(address: str, trust: Trust | None) -> grpc.aio.Channel:
    import grpc

    options = list(CHANNEL_OPTIONS)
    if trust is None:
        return grpc.aio.insecure_channel(check(address), options=options)
    options.append(("grpc.ssl_target_name_override", trust.server_name))
    credentials = grpc.ssl_channel_credentials(root_certificates=trust.ca_pem)
    return grpc.aio.secure_channel(check(address), credentials, options=options)
