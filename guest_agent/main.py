"""``vaccel-agent``: the program of a guest that has virtual functions."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from guest_agent.config import Config, load
from vaccel import __version__
from vaccel.errors import VaccelError

if TYPE_CHECKING:
    from vaccel.aperture.status import Status

_EPILOG = """\
files:
  /etc/vaccel/agent.toml       the configuration; docs/guest-agent.md explains each key
  /run/vaccel/agent.sock       where programs connect; lent windows at agent.sock.window
  /var/lib/vaccel              credentials, for root only

It notices VFs as they come and go. On SIGTERM or SIGINT it leaves, and the next one takes over
what programs had open.

exit status: 0 after a signal; with --once 0 where there is a VF, 8 where there is none; with
--status 0 where each has a worker that serves it, else 8; 2 for a wrong configuration, 3 for one
that is missing
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent; the exit code says how it ended (``vaccel.errors``)."""
    options = _parser().parse_args(arguments)
    try:
        config = load(Path(options.config) if options.config else None)
        if options.once or options.status:
            return _once(config, options.status)
        return _run(config)
    except VaccelError as error:
        sys.stderr.write(f"vaccel-agent: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vaccel-agent",
        description="Offers this VM's virtual functions to its programs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration (default: /etc/vaccel/agent.toml, which may be missing)",
    )
    parser.add_argument(
        "--once", action="store_true", help="print the VFs that are there, then leave"
    )
    parser.add_argument(
        "--status",
        action="store_true",
        help="print the VFs, and what the worker of each says of itself, then leave",
    )
    parser.add_argument("--version", action="version", version=f"vaccel-agent {__version__}")
    return parser


def _once(config: Config, with_status: bool) -> int:
    from guest_agent.pci import PciBus
    from vaccel.aperture.status import read
    from vaccel.errors import Unavailable

    bus = PciBus(Path(config.sysfs))
    good = silent = 0
    functions = sorted(bus.scan())
    for function in functions:
        try:
            header = bus.read_header(function)
            status = bus.read(function, read) if with_status else None
        except VaccelError as error:
            sys.stdout.write(f"{function.address}  {error}\n")
            silent += 1
            continue
        good += 1
        sys.stdout.write(
            f"{function.address}  {header.vf}  epoch {header.epoch}  {header.endpoint}\n"
        )
        if status is not None:
            silent += not status.serving
            sys.stdout.write(_shown(status))
    if functions and not good:
        raise Unavailable("no VF in this VM can be used", hint="each line above says why")
    if not good:
        raise Unavailable("no VF in this VM", hint="on the host: vaccelctl vf attach VF --vm NAME")
    return Unavailable.exit_code if with_status and silent else 0


def _shown(status: Status) -> str:
    """What a worker says of itself, a line for each field."""
    fields = asdict(status) | {"state": status.state_name}
    return "".join(f"    {name:<20}{value}\n" for name, value in fields.items())


def _run(config: Config) -> int:
    # gRPC's own lines would repeat what the agent logs once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.basicConfig(
        stream=sys.stderr,
        level=config.log_level.upper(),
        format="%(asctime)s vaccel-agent %(levelname)s %(message)s",
    )
    from guest_agent.agent import Agent

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await Agent(config).run(stop)

    try:
        asyncio.run(run())
    except ExceptionGroup as group:
        raise _first(group) from None
    return 0


def _first(group: ExceptionGroup[Exception]) -> Exception:
    ours, others = group.split(VaccelError)
    if ours is None or others is not None:
        return group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, Exception) else group


if __name__ == "__main__":
    sys.exit(main())
