"""What root finds in a window and in device memory: window.py DEVICE MARK write|look.

``write`` leaves the mark in both, and says what choosing a device gives; ``look`` says whether a
mark, or anything at all, is there.
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np

import vaccel
from guest_agent.pci import PciBus
from vaccel.aperture import layout
from vaccel.aperture.window import Window
from vaccel.errors import VaccelError
from vaccel.rpc import address
from vaccel.rpc.proxy import GrpcCompute

SIZE = 4 << 20
wanted, mark, mode = sys.argv[1], np.frombuffer(bytes.fromhex(sys.argv[2]), np.uint8), sys.argv[3]

bus = PciBus(Path("/sys"))
(function,) = [function for function in bus.scan() if bus.read_header(function).vf == wanted]
window = Window.from_resource(Path(f"/sys/bus/pci/devices/{function.address}/resource2"))
memory = np.frombuffer(window.bytes, np.uint8)[layout.HEADER_BYTES :]
slots = memory[: memory.size // 16 * 16].reshape(-1, 16)[::4096]
# The last quarter: nobody lends it while there are so few apps.
spare = slots[-len(slots) // 4 :]


def attempt(device: str) -> dict[str, str]:
    try:
        vaccel.open(device).close()
    except VaccelError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": "", "message": ""}


async def devices() -> list[str]:
    channel = address.open_channel(address.AGENT)
    try:
        return [device.id for device in await GrpcCompute(channel).devices()]
    finally:
        await channel.close(None)


def write(device: vaccel.Device) -> dict[str, object]:
    spare[:] = mark
    buffer = device.buffer(SIZE)
    buffer.write(np.tile(mark, SIZE // 16))
    kept = buffer.read("uint8", (SIZE,)).reshape(-1, 16)
    return {
        "found": bool((spare == mark).all() and (kept == mark).all()),
        "devices": asyncio.run(devices()),
        "unnamed": attempt(""),
        "unknown": attempt("vf-nowhere"),
    }


def look(device: vaccel.Device) -> dict[str, object]:
    parts = np.array_split(memory[-memory.size // 4 // 4096 * 4096 :].view(np.uint64), 16)
    return {
        "found": bool((slots == mark).all(axis=1).any()),
        "buffer": int(np.count_nonzero(device.buffer(SIZE).read("uint8", (SIZE,)))),
        "window": sum(int(np.count_nonzero(part)) for part in parts),
    }


# Over gRPC: a queue pair of its own would write to the window meanwhile.
with vaccel.open(wanted, path="grpc") as device:
    print(json.dumps(write(device) if mode == "write" else look(device)))
