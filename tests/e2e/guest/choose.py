"""Each device by its id, none by name, and one that is not there: choose.py DEVICE ..."""

import asyncio
import json
import sys

import numpy as np

import vaccel
from vaccel.errors import VaccelError
from vaccel.rpc import address
from vaccel.rpc.proxy import GrpcCompute


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
        await channel.close()


right = []
for number, wanted in enumerate(sys.argv[1:], 1):
    a = np.full((2, 2), number, np.float32)
    with vaccel.open(wanted) as device:
        if device.info.id == wanted and (device.run("matmul", a, a) == 2 * number**2).all():
            right.append(device.info.id)
print(
    json.dumps(
        {
            "devices": asyncio.run(devices()),
            "unnamed": attempt(""),
            "unknown": attempt("vf-nowhere"),
            "right": right,
        }
    )
)
