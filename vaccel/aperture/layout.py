"""The one table of constants of a window, shared by host, guest and documentation.

::

    0 header | 16 KiB status page | 20 KiB reserved | 64 KiB rings | slabs ... end
    ring: 0 indices | 4 KiB fences | 16 KiB submission ring | 32 KiB completion ring | 64 KiB next

Every number is a little-endian 64-bit word at a multiple of 8, so that it can be read and written
as one shared word. Text and bytes sit in slots of fixed size behind a word with their length;
unused bytes are 0. x86-64 only: readers and writers rely on its total store order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vaccel import bounds
from vaccel.errors import InvalidArgument

WORD: Final = 8
# "vaccelAP" as the bytes read in memory.
MAGIC: Final = int.from_bytes(b"vaccelAP", "little")
LAYOUT_VERSION: Final = 1

HEADER_OFFSET: Final = 0
HEADER_BYTES: Final = 16 * bounds.KIB
STATUS_OFFSET: Final = HEADER_OFFSET + HEADER_BYTES
STATUS_BYTES: Final = 4 * bounds.KIB
# Rings begin on their own 64 KiB: no page of any size in use is shared with header or status.
RINGS_OFFSET: Final = 64 * bounds.KIB
# 64 contexts with 512 descriptors of 64 bytes each way need 4 MiB; small windows get a quarter.
RINGS_BYTES_MOST: Final = 4 * bounds.MIB
RINGS_SHARE: Final = 4


@dataclass(frozen=True, slots=True)
class Field:
    """A place in an area: ``size`` bytes at ``offset``. ``writer`` is who alone writes there, where
    the area has two sides.
    """

    name: str
    offset: int
    size: int
    text: str
    writer: str = ""

    @property
    def word(self) -> int:
        """Index of the field's (first) word in a ``memoryview.cast("Q")`` of the window."""
        return self.offset // WORD


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the window, from ``start`` up to ``end``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Slot:
    """Bytes behind their length word. ``capacity`` is the most that fits."""

    name: str
    length: Field
    data: Field

    @property
    def capacity(self) -> int:
        """The most bytes that fit."""
        return self.data.size


def _word(name: str, offset: int, text: str, writer: str = "") -> Field:
    return Field(name, offset, WORD, text, writer)


def _slot(name: str, offset: int, capacity: int, text: str) -> Slot:
    return Slot(
        name,
        _word(f"{name}.length", offset, f"bytes used of `{name}`"),
        Field(name, offset + WORD, capacity, text),
    )


# The status page. The worker alone writes it, and nobody on the host reads it.
STATUS_GENERATION: Final = _word(
    "generation", 0, "odd while the page is written; rises with each change, not with time"
)
STATUS_STATE: Final = _word(
    "state", 8, "0 no worker, 1 serving, 2 lost: what was under way is being ended"
)
STATUS_FIELDS: Final = (
    STATUS_GENERATION,
    STATUS_STATE,
    _word("epoch", 16, "the VF's epoch"),
    _word("queues.lent", 24, "queue pairs that are lent, or kept for an app that may come back"),
    _word("queues", 32, "queue pairs in all"),
    _word("slabs.lent", 40, "bytes of slabs that are lent, or kept"),
    _word("slabs.largest_free", 48, "bytes of the largest slab that could be lent"),
    _word("descriptors", 56, "descriptors taken"),
    _word("malformed", 64, "descriptors refused"),
    _word("broken", 72, "queue pairs that broke"),
    _word("doorbells", 80, "times that this worker was woken; rings in a row may be one"),
    _word("doorbells.empty", 88, "of these, with no descriptor behind them"),
)
NO_WORKER: Final = 0
SERVING: Final = 1
RECOVERING: Final = 2

# A queue pair. Indices rise for ever, each on a cache line of its own: one side writes each.
QUEUE_BYTES: Final = 64 * bounds.KIB
APP: Final = "app"
WORKER: Final = "worker"
SQ_TAIL: Final = _word("sq.tail", 0, "descriptors submitted", APP)
SQ_HEAD: Final = _word("sq.head", 64, "descriptors copied", WORKER)
CQ_TAIL: Final = _word("cq.tail", 128, "completions posted", WORKER)
CQ_HEAD: Final = _word("cq.head", 192, "completions taken", APP)
QUEUE_STATE: Final = _word(
    "state", 256, "0 works, 1 broken: an index jumped, 2 lost: the VF was reset", WORKER
)
POLLS: Final = _word(
    "polls", 320, "1 while the worker looks at `sq.tail` unasked: nobody needs to ring", WORKER
)
BROKEN: Final = 1
LOST: Final = 2
FENCES: Final = Field(
    "fences", 4096, 128 * WORD, "reached fence of streams 0 to 127, a word each", WORKER
)
SQ_RING: Final = Field(
    "sq.ring", 16 * bounds.KIB, 16 * bounds.KIB, "256 descriptors of 64 bytes", APP
)
CQ_RING: Final = Field(
    "cq.ring", 32 * bounds.KIB, 32 * bounds.KIB, "128 completions of 256 bytes", WORKER
)
QUEUE_FIELDS: Final = (
    SQ_TAIL,
    SQ_HEAD,
    CQ_TAIL,
    CQ_HEAD,
    QUEUE_STATE,
    POLLS,
    FENCES,
    SQ_RING,
    CQ_RING,
)
SQ_ENTRY: Final = 64
CQ_ENTRY: Final = 256
SQ_ENTRIES: Final = SQ_RING.size // SQ_ENTRY
CQ_ENTRIES: Final = CQ_RING.size // CQ_ENTRY
FENCE_WORDS: Final = FENCES.size // WORD
# What a doorbell register takes, at this offset of BAR0: worker << 16 | vector, as 32 bits.
DOORBELL_OFFSET: Final = 12
DOORBELL_BYTES: Final = 256
DOORBELL_VALUE: Final = 1 << 16

MAGIC_FIELD: Final = _word("magic", 0, "the bytes `vaccelAP`")
VERSION_FIELD: Final = _word("layout_version", 8, "1; another number is another layout")
SEQUENCE_FIELD: Final = _word("sequence", 16, "odd while the header is being written, else even")
CRC_FIELD: Final = _word("crc", 24, "CRC-32 (zlib's) of the header's bytes from 32 to its end")
EPOCH_FIELD: Final = _word("epoch", 32, "rises with each reset of the VF or reboot of its guest")
WINDOW_FIELD: Final = _word("window_bytes", 40, "length of the whole window, a power of two")
RINGS_FIELD: Final = _word("rings_offset", 48, "where queue pairs begin")
SLABS_FIELD: Final = _word("slabs_offset", 56, "where slabs begin; they run to the window's end")
VF_SLOT: Final = _slot("vf", 64, 56, "the VF's id, ASCII")
ENDPOINT_SLOT: Final = _slot("endpoint", 128, 248, "where the guest reaches the daemon, ASCII")
NAME_SLOT: Final = _slot("server_name", 384, 248, "the name in the daemon's certificate, ASCII")
TOKEN_SLOT: Final = _slot("token", 640, 56, "one-time token; length 0 once it is erased")
CA_SLOT: Final = _slot("ca_pem", 704, 8184, "the host's certificate authority, PEM")

# The checksum covers the rest of the header page behind itself.
CRC_FROM: Final = CRC_FIELD.offset + WORD

WORDS: Final = (
    MAGIC_FIELD,
    VERSION_FIELD,
    SEQUENCE_FIELD,
    CRC_FIELD,
    EPOCH_FIELD,
    WINDOW_FIELD,
    RINGS_FIELD,
    SLABS_FIELD,
)
SLOTS: Final = (VF_SLOT, ENDPOINT_SLOT, NAME_SLOT, TOKEN_SLOT, CA_SLOT)


def check_size(size: int) -> int:
    """The size if a window may have it (a power of two within bounds). Raises InvalidArgument."""
    least, most = bounds.WINDOW_BYTES_LEAST, bounds.WINDOW_BYTES_MOST
    if size & (size - 1) or not least <= size <= most:
        raise InvalidArgument(
            f"window size {size} is not a power of two from {least} to {most} bytes",
            hint="PCI windows are powers of two; 268435456 (256 MiB) is usual",
        )
    return size


def slabs_offset(window_bytes: int) -> int:
    """Where slabs begin: behind the rings, which take a quarter of a small window, else 4 MiB."""
    return RINGS_OFFSET + min(RINGS_BYTES_MOST, window_bytes // RINGS_SHARE)


def queue_pairs(window_bytes: int) -> int:
    """How many queue pairs a window has room for."""
    return (slabs_offset(window_bytes) - RINGS_OFFSET) // QUEUE_BYTES


def queue_offset(number: int) -> int:
    """Where a queue pair begins in the window."""
    return RINGS_OFFSET + number * QUEUE_BYTES


def areas(window_bytes: int) -> tuple[Area, ...]:
    """The parts of a window in order; they leave no byte out."""
    slabs = slabs_offset(window_bytes)
    ends = (STATUS_OFFSET, STATUS_OFFSET + STATUS_BYTES, RINGS_OFFSET, slabs, window_bytes)
    names = ("header", "status page", "reserved", "queue pairs", "slabs")
    return tuple(map(Area, names, (HEADER_OFFSET, *ends), ends))


def status_table() -> str:
    """The status page as a Markdown table, for the documentation (a test compares it)."""
    return _markdown(STATUS_FIELDS)


def queue_table() -> str:
    """A queue pair as a Markdown table, for the documentation (a test compares it)."""
    return _markdown(QUEUE_FIELDS)


def fields() -> tuple[Field, ...]:
    """All fields of the header in order of offset."""
    slots = (part for slot in SLOTS for part in (slot.length, slot.data))
    return tuple(sorted((*WORDS, *slots), key=lambda field: field.offset))


def table() -> str:
    """The header as a Markdown table, for the documentation (a test compares it)."""
    return _markdown(fields())


def _markdown(shown: tuple[Field, ...]) -> str:
    rows = [f"| {f.offset} | {f.size} | `{f.name}` | {_text(f)} |" for f in shown]
    return "\n".join(
        ["| offset | bytes | field | what it holds |", "| --- | --- | --- | --- |", *rows]
    )


def _text(field: Field) -> str:
    return f"{field.text}; written by the {field.writer}" if field.writer else field.text
