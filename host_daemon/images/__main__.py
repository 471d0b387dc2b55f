"""``python -m host_daemon.images``: build and look at images without a daemon."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path

from host_daemon.images.store import ImageStore, default_cache
from vaccel.errors import VaccelError


def _tell(step: str, share: float) -> None:
    print(f"{share:6.1%}  {step}", flush=True)


async def _run(options: argparse.Namespace) -> None:
    checkout: Path = options.checkout
    store = ImageStore(checkout / "images", checkout / "requirements.lock", options.cache)
    match options.action:
        case "build":
            image = await store.build(options.name, options.rebuild, _tell)
            print(f"{image.folder}  {image.bytes / 1e6:.0f} MB")
        case "layer":
            print(await store.layer(checkout))
        case "data":
            print(await store.data_disk(options.folder, options.target))
        case "list":
            for image, current in await store.list():
                state = "current" if current else "outdated"
                print(f"{image.name}  {image.digest[:16]}  {image.bytes / 1e6:.0f} MB  {state}")
        case "prune":
            for path in await store.prune():
                print(f"removed {path}")


async def _until_told(work: Coroutine[None, None, None]) -> None:
    """Run the work; SIGTERM cancels it as SIGINT does, so that nothing half-built stays."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action; returns the exit code of its error's class."""
    parser = argparse.ArgumentParser(prog="python -m host_daemon.images", description=__doc__)
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="DIR", help="where images are kept"
    )
    parser.add_argument(
        "--checkout",
        type=Path,
        default=Path(__file__).resolve().parents[2],
        metavar="DIR",
        help="where recipes, lock file and packages come from (default: this one)",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build a guest image unless it is there")
    build.add_argument("name", nargs="?", default="debian", help="a recipe (default: debian)")
    build.add_argument("--rebuild", action="store_true", help="build it anyway")
    actions.add_parser("layer", help="make the disk with vaccel's own packages")
    data = actions.add_parser("data", help="make a data disk from a folder")
    data.add_argument("folder", type=Path, help="what it holds")
    data.add_argument("target", type=Path, help="the file to make")
    actions.add_parser("list", help="built images")
    actions.add_parser("prune", help="remove outdated images; only while no VM runs")
    try:
        asyncio.run(_until_told(_run(parser.parse_args(arguments))))
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130
    except VaccelError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
