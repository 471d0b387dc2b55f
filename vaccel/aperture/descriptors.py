"""What rides in the rings: 64-byte descriptors one way, 256-byte completions the other.

::

    descriptor: | op u32 | flags u32 | tag | stream | fence | a | b | c | d |      words of 64 bits
    completion: | op u32 | code u32 | tag | stream | fence | value | length | text ... |

========  ==================================================================================
op        a, b, c, d
========  ==================================================================================
NOP       a null command of (stream, fence); completes by its fence word alone
WRITE     slab offset, buffer, offset, length: from the slab to device memory
READ      slab offset, buffer, offset, length: from device memory to the slab
SUBMIT    offset and length of a request in the slab, offset and capacity for its reply
RUN       as SUBMIT: submit and wait
WAIT      as SUBMIT
RECORD    offset and length of a request; the completion's value is the recording's number
REPLAY    number of a recording, to be run as (stream, fence) on; completes as NOP does
FORGET    number of a recording
CALL      as SUBMIT: one launch with its tensors in the slab, and its results
========  ==================================================================================

The streams of NOP and REPLAY have a fence word: 0 to 127. ``flags`` must be 0. ``tag`` is the app's
own and comes back in the completion. ``code`` is 0, or the number of an error class (``CODES``),
with the reason as text; a reply that does not fit gives ``code`` 0, ``value`` ``TOO_LARGE``, and is
asked for over gRPC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from vaccel.aperture import layout
from vaccel.errors import BY_CODE, VaccelError, from_code

DESCRIPTOR: Final = struct.Struct("<IIQQQQQQQ")
_COMPLETION: Final = struct.Struct("<IIQQQQQ")
_TEXT_BYTES: Final = layout.CQ_ENTRY - _COMPLETION.size
TOO_LARGE: Final = (1 << 64) - 1
# Numbers of error classes on the ring: part of the layout's version.
CODES: Final = tuple(BY_CODE)

assert DESCRIPTOR.size == layout.SQ_ENTRY


class Op(IntEnum):
    """What a descriptor asks for."""

    NOP = 1
    WRITE = 2
    READ = 3
    SUBMIT = 4
    RUN = 5
    WAIT = 6
    RECORD = 7
    REPLAY = 8
    FORGET = 9
    CALL = 10


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of a descriptor."""

    op: int
    tag: int
    stream: int = 0
    fence: int = 0
    value: int = 0
    error: VaccelError | None = None

    def encode(self) -> bytes:
        """The entry of a completion ring. A long reason is cut, its class is not."""
        code, text = 0, b""
        if self.error is not None:
            code = CODES.index(self.error.code) + 1
            text = str(self.error).encode()[:_TEXT_BYTES]
        head = _COMPLETION.pack(
            self.op, code, self.tag, self.stream, self.fence, self.value, len(text)
        )
        return (head + text).ljust(layout.CQ_ENTRY, b"\0")


def decode(entry: bytes) -> Completion:
    """A completion from a copy of its entry."""
    op, code, tag, stream, fence, value, length = _COMPLETION.unpack_from(entry)
    error = None
    if code:
        text = entry[_COMPLETION.size : _COMPLETION.size + min(length, _TEXT_BYTES)]
        name = CODES[code - 1] if code <= len(CODES) else f"code {code}"
        error = from_code(name, text.decode(errors="replace"))
    return Completion(op, tag, stream, fence, value, error)
