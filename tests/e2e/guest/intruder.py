"""What root of a guest can try with the headers of its windows: one JSON object of outcomes.

intruder.py MINE OTHER: ids of two VFs of this guest, of which OTHER has a token still.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable
from pathlib import Path

from guest_agent.pci import PciBus
from vaccel.aperture.header import Header
from vaccel.errors import VaccelError
from vaccel.rpc.address import Trust, open_channel
from vaccel.rpc.enrol import authorization, enrol
from vaccel.rpc.proxy import GrpcCompute

bus = PciBus(Path("/sys"))


def headers() -> dict[str, Header]:
    return {header.vf: header for header in map(bus.read_header, bus.scan())}


async def outcome(work: Awaitable[object]) -> str:
    try:
        return f"got {type(await work).__name__}"
    except VaccelError as error:
        return type(error).__name__


async def main() -> None:
    found = headers()
    mine, other = found[sys.argv[1]], found[sys.argv[2]]
    trust = Trust(mine.ca_pem, mine.server_name)
    channel = open_channel(mine.endpoint, trust)
    forged = os.urandom(32)

    def as_one(credential: str) -> Awaitable[object]:
        metadata = authorization(credential) if credential else ()
        return GrpcCompute(channel, metadata).devices()

    nobody = f"vf-{'0' * len(mine.vf.removeprefix('vf-'))}"
    asked = {
        "forged": enrol(channel, other.vf, other.epoch, forged),
        "of another VF": enrol(channel, mine.vf, mine.epoch, other.token),
        "of an earlier epoch": enrol(channel, other.vf, other.epoch - 1, other.token),
        "of a later epoch": enrol(channel, other.vf, other.epoch + 1, other.token),
        "of nobody": enrol(channel, nobody, 1, other.token),
        "empty": enrol(channel, mine.vf, mine.epoch, b""),
        "too long": enrol(channel, mine.vf, mine.epoch, b"x" * 100_000),
        "no credential": as_one(""),
        "a made-up credential": as_one(f"{mine.vf}.{mine.epoch}.{forged.hex()}"),
        "a huge credential": as_one("x" * 4000),
    }
    outcomes = {name: await outcome(work) for name, work in asked.items()}
    await channel.close(None)
    print(
        json.dumps(
            {
                "outcomes": outcomes,
                "tokens": {vf: len(header.token) for vf, header in found.items()},
                "token": other.token.hex(),
                "epoch": other.epoch,
            }
        )
    )


asyncio.run(main())
