"""What one call to an executor may bring or ask for."""

from __future__ import annotations

from collections.abc import Sequence

from host_daemon.worker.streams import values_bytes
from vaccel import bounds
from vaccel.commands import Command, Launch, Store
from vaccel.errors import InvalidArgument


def check_chunk(length: int, what: str) -> None:
    """Raise InvalidArgument where a write or read moves more than one call may."""
    if length > bounds.CHUNK_BYTES:
        raise InvalidArgument(
            f"{what} of {length} bytes: at most {bounds.CHUNK_BYTES} in one call",
            hint="move it in several calls",
        )


def check_submission(commands: Sequence[Command], most: int) -> None:
    """Raise InvalidArgument where there are too many commands, or more than ``most`` bytes."""
    if len(commands) > bounds.COMMANDS_PER_SUBMIT:
        raise InvalidArgument(
            f"submit: {len(commands)} commands, at most {bounds.COMMANDS_PER_SUBMIT}",
            hint="split the submission",
        )
    data = sum(
        len(c.data) if isinstance(c, Store) else values_bytes(c.arguments)
        for c in commands
        if isinstance(c, Store | Launch)
    )
    if data > most:
        raise InvalidArgument(
            f"submit: {data} bytes of data travel in it, at most {most}",
            hint="write large tensors to buffers first",
        )
