"""What a daemon says of a worker that it wants, and how that travels to the fork server."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass

from vaccel import bounds
from vaccel.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a worker holds: window, eventfd that guests ring, journal, and its listening socket.

    ``cells`` is of the card's file of cells, where it has one, and open only until the VF's own are
    mapped.
    """

    memfd: int
    doorbell: int
    journal: int
    listener: int
    cells: int = -1

    def __iter__(self) -> Iterator[int]:
        held = (self.memfd, self.doorbell, self.journal, self.listener)
        return iter(held if self.cells < 0 else (*held, self.cells))


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker. ``header`` is the page for its window; empty: the window keeps what it has.

    ``card`` is the path of a card file. ``uid`` and ``gid`` are dropped to where the daemon is
    root. ``scratch`` is a folder for the compiler's traces; empty: memory that nobody else sees.
    """

    vf: str
    epoch: int
    card: str
    profile: str
    threads: int
    header: bytes
    window_bytes: int
    uid: int | None = None
    gid: int | None = None
    scratch: str = ""
    # Of a card whose cells remember: which bytes of the descriptor for them are this VF's, the
    # card's clock in seconds, and the VF's seed in hex. It is as secret as the window's token.
    cells_offset: int = 0
    cells_bytes: int = 0
    clock_seconds: float = 0.0
    seed: str = ""

    def encode(self) -> bytes:
        """The spec as it travels. Raises InvalidArgument past bounds.WORKER_SPEC_BYTES."""
        fields = dataclasses.asdict(self)
        fields["header"] = base64.b64encode(self.header).decode()
        data = json.dumps(fields).encode()
        if len(data) > bounds.WORKER_SPEC_BYTES:
            raise InvalidArgument(
                f"spec of worker {self.vf} is {len(data)} bytes: at most {bounds.WORKER_SPEC_BYTES}"
            )
        return data

    @classmethod
    def decode(cls, data: bytes) -> WorkerSpec:
        """The spec that a daemon sent. Raises InvalidArgument."""
        try:
            fields = json.loads(data)
            fields["header"] = base64.b64decode(fields["header"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as fault:
            raise InvalidArgument(f"spec of a worker cannot be read: {fault}") from fault
