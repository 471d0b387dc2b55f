"""A lender whose windows are of a layout of its own choice."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaccel.aperture.lending import MEMFD
from vaccel.aperture.window import create_window

SIZE = 1 << 20


@contextmanager
def strange_lender(path: Path, **said: Any) -> Iterator[list[dict[str, Any]]]:
    """Answers everybody with a window, and with what is to be said of it; what it was asked."""
    asked: list[dict[str, Any]] = []
    answer = json.dumps({"kind": MEMFD, "window_bytes": SIZE, **said}).encode() + b"\n"
    path.unlink(missing_ok=True)

    def serve(listener: socket.socket) -> None:
        window, doorbell = create_window(SIZE), os.eventfd(0)
        while True:
            sock, _ = listener.accept()
            with sock:
                line = sock.recv(4096)
                if not line:  # the end of it all
                    break
                asked.append(json.loads(line))
                socket.send_fds(sock, [answer], [window, doorbell])
        os.close(window)
        os.close(doorbell)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        try:
            yield asked
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
                last.shutdown(socket.SHUT_WR)
                serving.join()
            path.unlink()
