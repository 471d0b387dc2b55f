"""What a daemon and the keeper say to each other: one message each way, on SOCK_SEQPACKET.

::

    request: | b"vKp1" | op u8 | name length u8 | name, 58 bytes |    with PUT: three descriptors
    reply:   | b"vKp1" | status u8 | names, one a line |              to GET: three descriptors

The descriptors of a VF are, in this order: the window's memfd, the worker's eventfd (the doorbell)
and the journal's memfd. Messages are of bounded length, and a longer one is refused unread.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAGIC: Final = b"vKp1"
DESCRIPTORS: Final = 3
# As many VFs as a host may have (``vaccel.bounds.VFS_PER_HOST``), which this cannot import.
NAMES: Final = 256
_NAME: Final = re.compile(rb"[A-Za-z0-9-]{1,58}")
_REQUEST: Final = struct.Struct("<4sBB58s")
_REPLY: Final = struct.Struct("<4sB")
REQUEST_BYTES: Final = _REQUEST.size
REPLY_BYTES: Final = _REPLY.size + NAMES * 59


class Op(IntEnum):
    """What a daemon asks for."""

    PUT = 1  # hold these descriptors; those held under that name before are closed
    GET = 2  # copies of the descriptors of a name
    LIST = 3  # all names
    DROP = 4  # close the descriptors of a name


class Status(IntEnum):
    """How it went."""

    DONE = 0
    UNKNOWN = 1  # no such name
    FULL = 2  # as many names as there can be
    MALFORMED = 3  # no request of this protocol, or not three descriptors with it


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``name`` is a VF's id; empty for LIST."""

    op: Op
    name: str = ""

    def encode(self) -> bytes:
        """The message. Raises ValueError for a name that no VF has."""
        name = self.name.encode()
        if self.op is not Op.LIST and not _NAME.fullmatch(name):
            raise ValueError(f"{self.name!r} is no name of a VF")
        return _REQUEST.pack(MAGIC, self.op, len(name), name)


def parse_request(data: bytes) -> Request:
    """A request from its message. Raises ValueError naming what is wrong."""
    if len(data) != REQUEST_BYTES:
        raise ValueError(f"a request of {len(data)} bytes, not {REQUEST_BYTES}")
    magic, op, length, name = _REQUEST.unpack(data)
    if magic != MAGIC:
        raise ValueError(f"magic {magic!r}, not {MAGIC!r}")
    asked = Op(op)
    if asked is Op.LIST:
        return Request(asked)
    if not _NAME.fullmatch(name[:length]):
        raise ValueError(f"{name[:length]!r} is no name of a VF")
    return Request(asked, name[:length].decode())


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer. ``names`` is filled for LIST."""

    status: Status
    names: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The message."""
        return _REPLY.pack(MAGIC, self.status) + "\n".join(self.names).encode()


def parse_reply(data: bytes) -> Reply:
    """A reply from its message. Raises ValueError naming what is wrong."""
    if len(data) < _REPLY.size:
        raise ValueError(f"a reply of {len(data)} bytes")
    magic, status = _REPLY.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"magic {magic!r}, not {MAGIC!r}")
    names = data[_REPLY.size :].decode("ascii").split("\n")
    return Reply(Status(status), tuple(name for name in names if name))
