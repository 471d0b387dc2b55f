"""What a load reads: a model in a buffer, and the files of its external data beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from host_daemon.worker.memory import Buffer, Buffers, check_range
from vaccel import bounds
from vaccel.compute import OnnxSource
from vaccel.errors import InvalidArgument, InvalidModel
from vaccel.external_data import fault_of


class Upload(NamedTuple):
    """``own``: nobody else will ever write the bytes."""

    model: memoryview
    blobs: Mapping[str, memoryview]
    own: bool


@contextmanager
def uploaded(buffers: Buffers, source: OnnxSource) -> Iterator[Upload]:
    """The bytes of a load, pinned; where it takes its buffer over, that is gone afterwards.

    Raises NotFound, InvalidArgument where ranges reach outside the buffer or into each other, and
    InvalidModel for a location that is no file's within the model's folder.
    """
    buffer = buffers.find(source.buffer)
    own = source.take and not buffer.pinned
    if source.take:
        buffers.take(source.buffer)
    buffer.pin()
    try:
        blobs = _blobs(buffer, source)
        yield Upload(_view(buffer, source.offset, source.length, "model"), blobs, own)
    finally:
        buffer.unpin()
        if source.take:
            buffer.free()


def _blobs(buffer: Buffer, source: OnnxSource) -> dict[str, memoryview]:
    found: dict[str, memoryview] = {}
    ranges = [(source.offset, source.offset + source.length)]
    if len(source.blobs) > bounds.BLOBS_PER_MODEL:
        raise InvalidArgument(
            f"model with {len(source.blobs)} files of data: at most {bounds.BLOBS_PER_MODEL}"
        )
    for blob in source.blobs:
        name = repr(blob.name[:80])
        fault = fault_of(blob.name)
        if fault:
            raise InvalidModel(f"location {name} of external data {fault}")
        if blob.name in found:
            raise InvalidArgument(f"external data {name} is there twice")
        found[blob.name] = _view(buffer, blob.offset, blob.length, f"external data {name}")
        ranges.append((blob.offset, blob.offset + blob.length))
    ranges = sorted(each for each in ranges if each[0] < each[1])
    for (_, end), (start, _) in pairwise(ranges):
        if start < end:
            raise InvalidArgument(f"parts of the model overlap at byte {start} of its buffer")
    return found


def _view(buffer: Buffer, offset: int, length: int, what: str) -> memoryview:
    check_range(buffer, offset, length, what)
    return buffer.array[offset : offset + length].data
