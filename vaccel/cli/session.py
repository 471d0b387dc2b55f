"""One run of vaccelctl: which daemon it talks to, and how."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

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
    """A client of the daemon. Raises Unavailable or PermissionDenied for a dead socket."""
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
    """Say at once, and without loading gRPC, that nobody can answer at a unix socket."""
    if not address.startswith("unix:/"):
        return
    path = Path(address.removeprefix("unix:"))
    try:
        mode = path.stat().st_mode
    except PermissionError:
        raise _denied(address) from None
    except OSError:
        raise Unavailable(
            f"vacceld is not running: there is no socket at {address}", hint=START_HINT
        ) from None
    if not stat.S_ISSOCK(mode):
        raise Unavailable(f"address {address} is not a socket", hint=START_HINT)
    if not os.access(path, os.R_OK | os.W_OK):
        raise _denied(address)


def _denied(address: str) -> PermissionDenied:
    return PermissionDenied(
        f"socket {address} may not be opened by this user", hint="run vaccelctl as root"
    )
