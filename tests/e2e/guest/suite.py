"""Runs the compute suite over the agent of this guest: one JSON object, check by check."""

import asyncio
import json
import sys
import time
import traceback
from pathlib import Path

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))
sys.dont_write_bytecode = True

from tests.conformance.compute import CHECKS  # noqa: E402
from vaccel.rpc import address  # noqa: E402
from vaccel.rpc.proxy import GrpcCompute  # noqa: E402


def model(name: str) -> bytes:
    return (FOLDER / "models" / f"{name}.onnx").read_bytes()


async def main() -> None:
    outcomes = {}
    channel = address.open_channel(address.AGENT)
    compute = GrpcCompute(channel)
    for name, check in CHECKS.items():
        begun = time.perf_counter()
        error = ""
        try:
            await check(compute, model)
        except Exception:
            error = traceback.format_exc()
        outcomes[name] = {"seconds": time.perf_counter() - begun, "error": error}
    await compute.close()
    await channel.close(None)
    print(json.dumps(outcomes))


asyncio.run(main())
