"""What the benchmarks of the fast path run beside a VF: ``python -m`` this, ``latency DIR``, with
``--brief`` for a look of seconds.

It prints one JSON object. The gRPC baseline is an empty unary call (the standard health check) on a
warmed channel with the synchronous stub, to the same daemon: over the guest's network where the
window's header says where it is, over the VF's unix socket otherwise.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import vaccel
from vaccel import bounds, errors
from vaccel.commands import Nop

BATCH: Final = 64
GRPC_MOST: Final = 16 << 20
# Of staging beside the largest array.
_BESIDE: Final = 32 << 20
# What a pass copies each way, and how often at least: its figure is the median of its copies.
_PASS_BYTES: Final = 8 << 20
_PASS_COPIES: Final = 3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: commands, calls and batches in each of the rounds."""

    warm: int = 1000
    rounds: int = 20
    commands: int = 500
    calls: int = 100
    batches: int = 50
    passes: int = 9
    sizes: tuple[int, ...] = (64 << 10, 1 << 20, 16 << 20, 64 << 20, 128 << 20)


FULL: Final = Effort()
BRIEF: Final = Effort(100, 4, 100, 20, 5, 3, (64 << 10, 1 << 20, 32 << 20))


def latency(effort: Effort) -> dict[str, float]:
    """Microseconds from submit to completion as an app sees it, and of the baseline."""
    with vaccel.open(path="aperture") as device:
        stream, nop = device.stream(), Nop()
        call = _empty_call(device)
        batch = [nop] * BATCH
        recorded = stream.record(*batch)

        def command() -> None:
            stream.submit(nop).wait()

        for _ in range(effort.warm):
            command()
        _times(call, effort.calls)
        times: dict[str, list[float]] = {"command": [], "grpc": [], "batch": [], "replay": []}
        for _ in range(effort.rounds):
            times["command"] += _times(command, effort.commands)
            times["grpc"] += _times(call, effort.calls)
            times["batch"] += _times(lambda: stream.submit(*batch).wait(), effort.batches)
            times["replay"] += _times(lambda: recorded.replay().wait(), effort.batches)
    p50, p99 = np.percentile(times["command"], (50, 99)) * 1e6
    grpc_p50, grpc_p99 = np.percentile(times["grpc"], (50, 99)) * 1e6
    return {
        "p50_us": float(p50),
        "p99_us": float(p99),
        "grpc_p50_us": float(grpc_p50),
        "grpc_p99_us": float(grpc_p99),
        "speedup_p50": float(grpc_p50 / p50),
        "batch_64_us_per_command": float(np.median(times["batch"])) * 1e6 / BATCH,
        "replay_us_per_command": float(np.median(times["replay"])) * 1e6 / BATCH,
    }


def bandwidth(effort: Effort) -> dict[str, Any]:
    """MB/s (10^6 bytes) of filling and emptying staging arrays, by size."""
    with (
        vaccel.open(path="aperture", staging_bytes=max(effort.sizes) + _BESIDE) as device,
        vaccel.open(path="grpc") as slow,
    ):
        return {"rows": [_row(device, slow, size, effort.passes) for size in effort.sizes]}


def _row(
    device: vaccel.Device, slow: vaccel.Device, size: int, passes: int
) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    source = rng.integers(0, 256, size, np.uint8)
    target, other = np.zeros_like(source), np.zeros_like(source)
    staged = device.staging(size, "uint8")
    steps: dict[str, Callable[[], Any]] = {
        "write_MBps": lambda: np.copyto(staged, source),
        "read_MBps": lambda: np.copyto(target, staged),
        "memcpy_MBps": lambda: np.copyto(other, source),
    }
    if size <= GRPC_MOST:
        far = slow.buffer(size)
        steps["grpc_MBps"] = lambda: far.write(source)
        far.write(source)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(passes):
        # What a step leaves behind meets the next one: caches, and after gRPC processes that are
        # not done yet. So each pass has an order of its own, and the first copy does not count.
        for name in rng.permutation(list(steps)):
            if name == "grpc_MBps":
                times[name] += _times(steps[name], 1)
            else:
                copies = _times(steps[name], 1 + max(_PASS_COPIES, _PASS_BYTES // size))
                times[name].append(float(np.median(copies[1:])))
    _check(device, staged, source, target)
    found = {name: size / 1e6 / float(np.median(some)) for name, some in times.items()}
    return {"size": size} | found | {"grpc_MBps": found.get("grpc_MBps")}


def _check(
    device: vaccel.Device, staged: NDArray[Any], source: NDArray[Any], target: NDArray[Any]
) -> None:
    """The worker has what was written, byte by byte, and what was read is it too."""
    buffer = device.buffer(staged.nbytes)
    buffer.write(staged)
    staged[:] = 0
    buffer.read_into(staged)
    if not (np.array_equal(staged, source) and np.array_equal(target, source)):
        raise errors.Internal(f"{staged.nbytes} bytes came back changed")
    buffer.free()


def _times(call: Callable[[], Any], count: int) -> list[float]:
    found, clock = [], time.perf_counter
    for _ in range(count):
        start = clock()
        call()
        found.append(clock() - start)
    return found


def _empty_call(device: vaccel.Device) -> Callable[[], Any]:
    import grpc

    address = os.environ.get("VACCELD_ADDRESS", "")
    if address:
        channel = grpc.insecure_channel(address)
    else:
        queue = device._queue
        if queue is None:
            raise errors.WrongState(f"{device} has lost its window", hint="run it again")
        header = queue.window.read_header()
        options = [("grpc.ssl_target_name_override", header.server_name)]
        trusted = grpc.ssl_channel_credentials(root_certificates=header.ca_pem)
        channel = grpc.secure_channel(header.endpoint, trusted, options)
    check = channel.unary_unary("/grpc.health.v1.Health/Check", _as_is, _as_is)
    return lambda: check(b"", timeout=bounds.CALL_SECONDS)


def _as_is(message: bytes) -> bytes:
    return message


def main(arguments: Sequence[str]) -> int:
    """The program; its exit code is that of the error class."""
    try:
        measure = {"latency": latency, "bandwidth": bandwidth}[arguments[0]]
        print(json.dumps(measure(BRIEF if "--brief" in arguments else FULL)))
    except errors.VaccelError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
