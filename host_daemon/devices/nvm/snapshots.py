"""A VF's cells as bytes, for a move: the records of its used tiles, compressed.

Body: ``clock`` float64, then for each tile that was ever used its number (uint32), the compressed
length (uint32) and the record. Wear and stuck cells are of the metal that was left, and stay
behind: they are zero in the body, and what is put into a stuck cell is what that cell gives.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

from host_daemon.devices.nvm.store import MAGIC, TileRecord
from host_daemon.devices.nvm.tiles import Tiles
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument

_CLOCK: Final = struct.Struct("<d")
_TILE: Final = struct.Struct("<II")
_FAST: Final = 1
# What is of the metal, and not of the weights.
_METAL: Final = ("wear", "stuck", "writes", "worst", "owner_writes")


def encode(tiles: Tiles, now: float) -> bytes:
    """All used tiles. Raises Exhausted where they are more than DEVICE_STATE_BYTES."""
    body = bytearray(_CLOCK.pack(now))
    for record in tiles.all:
        if record.formatted:
            moved = record.record.copy()
            for field in _METAL:
                moved[field] = np.zeros((), moved.dtype[field])
            data = zlib.compress(moved.tobytes(), _FAST)
            body += _TILE.pack(record.number, len(data)) + data
            if len(body) > bounds.DEVICE_STATE_BYTES - bounds.MIB:
                raise Exhausted(
                    f"device state: the cells of {len(tiles.all)} tiles are more than"
                    f" {bounds.DEVICE_STATE_BYTES} bytes",
                    hint="move the program instead: its weights are written anew there",
                )
    return bytes(body)


def decode(body: bytes, tiles: Tiles, now: float) -> None:
    """Take over tiles; nothing changes where anything does not fit. Raises InvalidArgument."""
    if len(body) < _CLOCK.size:
        raise InvalidArgument(f"device state: a body of {len(body)} bytes has no clock")
    (clock,) = _CLOCK.unpack_from(body)
    if not np.isfinite(clock) or clock < 0:
        raise InvalidArgument(f"device state: clock = {clock!r}")
    found, at = {}, _CLOCK.size
    while at < len(body):
        number, data, at = _next(body, at, len(tiles.all))
        if number in found:
            raise InvalidArgument(f"device state: tile {number} is there twice")
        found[number] = _record(tiles.all[number], number, data, now - clock)
    for number, record in found.items():
        here = tiles.all[number]
        tiles.ready(here)
        for field in record.record.dtype.names or ():
            if field not in _METAL:
                here.record[field] = record.record[field]
        here.hold_stuck()


def _next(body: bytes, at: int, tiles: int) -> tuple[int, bytes, int]:
    if at + _TILE.size > len(body):
        raise InvalidArgument(f"device state: {len(body) - at} bytes behind the last tile")
    number, length = _TILE.unpack_from(body, at)
    start = at + _TILE.size
    if number >= tiles or start + length > len(body):
        raise InvalidArgument(f"device state: tile {number} of {length} bytes does not fit")
    return number, body[start : start + length], start + length


def _record(here: TileRecord, number: int, data: bytes, shift: float) -> TileRecord:
    kind = here.record.dtype
    unpack = zlib.decompressobj()
    try:
        raw = unpack.decompress(data, kind.itemsize + 1)
    except zlib.error as fault:
        raise InvalidArgument(f"device state: tile {number}: {fault}") from None
    if len(raw) != kind.itemsize:
        raise InvalidArgument(
            f"device state: tile {number} has {len(raw)} bytes, not {kind.itemsize}"
        )
    record = TileRecord(number, here.tile, np.frombuffer(bytearray(raw), kind))
    if bytes(record.get("magic")) != MAGIC:
        raise InvalidArgument(f"device state: tile {number} is no record")
    record.check("the state")
    record.record["written_at"] += shift
    for field in ("conductance", "target", "kept", "written_at", "scale"):
        if not np.isfinite(record.record[field]).all():
            raise InvalidArgument(f"device state: tile {number}: {field} is not finite")
    return record
