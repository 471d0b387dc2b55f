"""``python -m host_daemon.keeper.main FD PATH``: FD listens on PATH, and is the keeper's now."""

from __future__ import annotations

import os
import signal
import socket
import sys

from host_daemon.keeper.server import Server


def main() -> int:
    """The program."""
    descriptor, path = int(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    with socket.socket(fileno=descriptor) as listener:
        Server(listener, path).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
