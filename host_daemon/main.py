"""vacceld: the host daemon."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from vaccel import __version__
from vaccel.errors import VaccelError

_EPILOG = """\
files:
  /etc/vacceld.toml            the configuration; docs/configuration.md explains each key
  /var/lib/vacceld             state: the store, the host's certificate authority, disks of VMs
  /run/vacceld/control.sock    where vaccelctl connects

VMs and VF workers outlive the daemon: stopping it stops no guest, and starting it again
finds them. On SIGTERM or SIGINT it ends the calls under way and leaves.

exit status: 0 after a signal; 2 for a wrong configuration; 10 where the host lacks something
"""


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vacceld",
        description="Splits accelerator cards into virtual functions and serves them to VMs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/vacceld.toml"),
        metavar="FILE",
        help="the configuration (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="check the configuration, then leave")
    parser.add_argument("--verbose", "-v", action="store_true", help="log every step")
    parser.add_argument("--version", action="version", version=f"vacceld {__version__}")
    return parser.parse_args(arguments)


async def _serve(config_path: Path) -> None:
    from host_daemon import config as configuration

    config = configuration.load(config_path)  # before the half second that the daemon loads

    from host_daemon.daemon import run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(config, stop)


def _check(config_path: Path) -> None:
    from host_daemon import config as configuration
    from host_daemon.daemon import read_card

    config = configuration.load(config_path)
    for pf in config.pfs:
        _, card = read_card(pf.card)
        print(f"{pf.name}: {card.name}, {card.cores} cores, {len(card.profiles)} profiles")


def main(arguments: list[str] | None = None) -> int:
    """The program. Returns its exit status."""
    options = _arguments(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("qemu", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        if options.check:
            _check(options.config)
        else:
            asyncio.run(_serve(options.config))
    except VaccelError as fault:
        print(f"vacceld: {fault}", file=sys.stderr)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
