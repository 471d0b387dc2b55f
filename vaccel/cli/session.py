"""One run of vaccelctl: which daemon it talks to, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

from vaccel import bounds
from vaccel.errors import PermissionDenied, Unavailable

if TYPE_CHECKING:
    from vaccel.admin import AdminClient

ADDRESS_VARIABLE: Final = "VACCELCTL_ADDRESS"
# The same as vaccel.rpc.address.CONTROL, an import that --help need not pay for; a test compares.
DEFAULT_ADDRESS: Final = "unix:/run/vacceld/control.sock"
START_HINT: Final = (
    "start it: vacceld --config FILE; or name another with --address or " + ADDRESS_VARIABLE
)


def open_admin(address: str) -> AdminClient:
    """A client of the daemon.

    Raises InvalidArgument for what is no address, Unavailable or PermissionDenied for a dead one.
    """
    _check_socket(address)
    from vaccel.admin import AdminClient

    return AdminClient(address)


@dataclass(slots=True)
class Session:
    """``address`` is "" for the default; ``connect`` opens a client of the daemon there."""

    address: str = ""
    connect: Callable[[str], AdminClient] = open_admin

    @contextmanager
    def host(self) -> Iterator[AdminClient]:
        """A client for the time of one command."""
        with self.connect(self.address or DEFAULT_ADDRESS) as client:
            yield client


def session_of(ctx: typer.Context) -> Session:
    """The session that ``main`` put into the context."""
    return ctx.ensure_object(Session)


def _check_socket(address: str) -> None:
    """Say at once, in plain words, without loading gRPC, that nobody answers at a unix socket."""
    from vaccel.rpc.address import check

    if not check(address).startswith("unix:/"):
        return
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(bounds.CALL_SECONDS)
        try:
            probe.connect(address.removeprefix("unix:"))
        except PermissionError:
            raise PermissionDenied(
                f"socket {address} may not be opened by this user",
                hint="run vaccelctl as the user that vacceld runs as: root, unless set otherwise",
            ) from None
        except OSError as fault:
            reason = fault.strerror or str(fault)
            raise Unavailable(
                f"vacceld is not running: nobody answers at {address} ({reason})", hint=START_HINT
            ) from None
