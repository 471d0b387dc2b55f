"""The unix socket that apps connect to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from guest_agent.config import Config
from guest_agent.health import add_health
from guest_agent.router import Router
from vaccel import bounds
from vaccel.errors import HostFault


@asynccontextmanager
async def serve(config: Config, router: Router) -> AsyncIterator[None]:
    """Serve Compute and health while the context is open. Raises HostFault naming the socket."""
    import grpc

    from vaccel.rpc.address import SERVER_OPTIONS
    from vaccel.rpc.server import ContextHolder, add_compute

    path = config.socket_path
    with ExitStack() as undo:
        _claim(config, undo)
        server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=bounds.AGENT_CALLS)
        # A unix stream breaks when its app ends, and at no other time: no grace.
        holder = ContextHolder(0.0)
        add_compute(server, lambda _principal: router, holder)
        add_health(server, {"": lambda: True, "vaccel.v1.Compute": lambda: router.serving})
        try:
            server.add_insecure_port(config.socket)
        except RuntimeError as error:
            raise HostFault(f"cannot listen on {config.socket}: {error}") from error
        undo.callback(path.unlink, missing_ok=True)
        await server.start()
        os.chown(path, -1, config.group)
        path.chmod(config.mode)
        try:
            yield
        finally:
            router.leave()
            await server.stop(bounds.AGENT_STOP_SECONDS)
            await holder.close()


def _claim(config: Config, undo: ExitStack) -> None:
    """Be the only agent of this socket, and clear away what a killed one left."""
    path = config.socket_path
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostFault(
            f"cannot use the folder {path.parent}: {error.strerror}",
            hint="run vaccel-agent as root, or set socket in its configuration",
        ) from error
    undo.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise HostFault(
            f"another vaccel-agent serves {config.socket}", hint="stop that one first"
        ) from None
    path.unlink(missing_ok=True)
