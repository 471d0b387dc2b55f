"""The daemon's three kinds of endpoint, each with its own idea of who calls.

- **control**: a unix socket that only its owner can open. Whoever does is the operator.
- **guest**: TLS on a unix socket to which each VM's one forward leads. A caller is who its
credential says.
- **local**: two unix sockets per VF attached to this host, for calls and to lend its window.
Whoever can open them uses that VF.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from host_daemon.control.certificates import Identity
from host_daemon.core.records import CredentialRecord
from host_daemon.services.guard import Guard, Principal, Record
from vaccel import bounds
from vaccel.aperture.lending import Lender, Loan, lent_beside
from vaccel.compute import Compute
from vaccel.errors import (
    Detached,
    DeviceLost,
    HostFault,
    NotFound,
    Unauthenticated,
    VaccelError,
)
from vaccel.operations import Operations
from vaccel.rpc.address import SERVER_OPTIONS
from vaccel.rpc.admin_server import add_admin
from vaccel.rpc.enrol import Enrolment, Recalls, add_enrol
from vaccel.rpc.public import add_public
from vaccel.rpc.server import ContextHolder, add_compute
from vaccel.rpc.service import Metadata

if TYPE_CHECKING:
    import grpc

ComputeOf = Callable[[Principal], Compute]
_OPERATOR: Final = Principal("operator", "admin")
_BEARER: Final = "Bearer "


def _server() -> grpc.aio.Server:
    import grpc

    return grpc.aio.server(options=SERVER_OPTIONS)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _listen(
    server: grpc.aio.Server, path: Path, mode: int, credentials: grpc.ServerCredentials | None
) -> None:
    _remove(path)
    address = f"unix:{path}"
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
        await server.start()
        os.chmod(path, mode)
    except (RuntimeError, OSError) as fault:
        raise HostFault(f"cannot listen on {address}: {fault}") from None


async def serve_control(
    path: Path,
    operations: Operations,
    compute_of: ComputeOf,
    holder: ContextHolder,
    record: Record,
) -> grpc.aio.Server:
    """Admin, and Compute on every VF, for the operator."""
    server = _server()
    guard = Guard(lambda _metadata: _OPERATOR, record)
    add_admin(server, operations, guard.admit)
    add_compute(server, compute_of, holder.sharing(0), guard.admit)
    await add_public(server, ("Admin", "Compute"))
    await _listen(server, path, 0o600, None)
    return server


async def serve_guests(
    path: Path,
    identity: Identity,
    check: Callable[[str], CredentialRecord],
    enrolment: Enrolment,
    recalls: Recalls,
    compute_of: ComputeOf,
    holder: ContextHolder,
    record: Record,
) -> grpc.aio.Server:
    """Enrol and Compute, for the agents in VMs."""
    import grpc

    def authenticate(metadata: Metadata) -> Principal:
        shown = metadata.get("authorization", "")
        if not shown.startswith(_BEARER) or len(shown) > bounds.NAME_BYTES:
            raise Unauthenticated("no credential", hint="enrol with the token of the window")
        known = check(shown.removeprefix(_BEARER))
        return Principal(f"agent of {known.vf}", "tenant", known.vf, known.epoch)

    server = _server()
    guard = Guard(authenticate, record)
    add_enrol(server, enrolment, recalls, guard.admit)
    add_compute(server, compute_of, holder, guard.admit)
    await add_public(server, ("Enrol", "Compute"), reflection=False)
    credentials = grpc.ssl_server_credentials([(identity.key_pem, identity.certificate_pem)])
    await _listen(server, path, 0o600, credentials)
    return server


class LocalEndpoints:
    """Two sockets per VF that is attached to this host: for calls, and to lend its window.

    ``window_of`` gives what is lent of a VF, ``vf_of`` the VF of a context.
    """

    def __init__(
        self,
        folder: Path,
        compute_of: ComputeOf,
        holder: ContextHolder,
        record: Record,
        window_of: Callable[[str], Loan],
        vf_of: Callable[[str], str],
    ) -> None:
        self._folder = folder
        self._compute_of = compute_of
        self._holder = holder.sharing(0)
        self._record = record
        self._window_of, self._vf_of = window_of, vf_of
        self._servers: dict[str, tuple[grpc.aio.Server, Lender]] = {}

    async def open(self, vf: str, epoch: int) -> None:
        """Listen at ``<folder>/<vf>.sock``; anew where it listens already."""
        await self._close(vf, DeviceLost(f"VF {vf} was reset", hint="open the device again"))
        principal = Principal(f"local user of {vf}", "tenant", vf, epoch)
        server = _server()
        guard = Guard(lambda _metadata: principal, self._record)
        add_compute(server, self._compute_of, self._holder, guard.admit)
        await add_public(server, ("Compute",))
        path = self._folder / f"{vf}.sock"
        await _listen(server, path, 0o600, None)
        # What a dead program held goes at once, though a child of it may hold its connections.
        free = self._compute_of(principal).close_context
        lender = Lender(lent_beside(path), 0o600, functools.partial(self._loan, vf), free)
        try:
            await lender.__aenter__()
        except OSError as fault:
            await server.stop(0)
            raise HostFault(f"cannot lend windows beside {path}: {fault}") from None
        self._servers[vf] = (server, lender)

    async def _loan(self, vf: str, context: str) -> Loan:
        if self._vf_of(context) != vf:
            raise NotFound(f"no context {context[:64]!r} of VF {vf}", hint="open one first")
        return self._window_of(vf)

    async def close(self, vf: str) -> None:
        """Stop listening; calls under way end, and lent windows are taken back."""
        await self._close(vf, Detached(f"VF {vf} was taken away", hint="open another device"))

    async def _close(self, vf: str, reason: VaccelError | None) -> None:
        """Without a reason the daemon leaves: what is lent stays with who has it."""
        if found := self._servers.pop(vf, None):
            server, lender = found
            if reason is not None:
                await lender.recall(vf, reason)
            await lender.__aexit__()
            await server.stop(0)
            _remove(self._folder / f"{vf}.sock")

    async def stop(self) -> None:
        """Stop all; the sockets are opened again by the next daemon."""
        for vf in list(self._servers):
            await self._close(vf, None)
