"""An app that forks while it has a device: ``forker.py ADDRESS HOW``.

- ``python``: by os.fork, as multiprocessing does. The child says what it finds, and lives on.
- ``c``: by the C library's fork, of which Python is not told. The child lives on.
- ``busy``: twenty times, while threads use the device. The children say what they find, and end.
- ``first``: before it opens a device. The child opens one, and so does the parent.

``python`` and ``c`` go on with numbers on stdin, each of which fills the array that is shared with
the device; "parent" with what comes of using the device then is printed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import vaccel
from tests.conformance import models
from vaccel.commands import Nop
from vaccel.errors import VaccelError

PATH = "aperture"
X = np.ones((2, 4), np.float32)
LARGE = np.arange(1 << 18, dtype=np.float32).reshape(512, 512)
# A child that hangs says where, and ends.
SECONDS = 20


def say(*words: object) -> None:
    """Print a line at once: parent and child write to the same pipe."""
    os.write(1, " ".join([*map(str, words), "\n"]).encode())


def outcome(use: Callable[[], object]) -> str:
    """The name of the error that a use of the device raises."""
    try:
        use()
    except VaccelError as error:
        return error.code
    return "fine"


class App:
    """A device, and one of each thing that is made on it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.device = vaccel.open(address=address, path=PATH)
        self.stream = self.device.stream()
        self.model = self.device.load(models.build("affine"))
        self.buffer = self.device.buffer(X)
        self.recording = self.stream.record(Nop())
        self.fence = self.stream.submit(Nop())
        self.staged: Any = self.device.staging((1 << 16,), "uint8")
        self.staged[:] = 5
        self.device.run("relu", LARGE)
        # The second call knows what room it needs: its result lies in the window.
        self.held = self.device.run("relu", LARGE)
        assert not self.held.flags.owndata

    def uses(self) -> list[Callable[[], object]]:
        """All ways to come to the device."""
        device = self.device
        return [
            lambda: self.stream.submit(Nop()),
            lambda: self.fence.wait(10),
            self.recording.replay,
            lambda: self.stream.record(Nop()),
            lambda: self.model(X),
            lambda: self.model.submit(X),
            lambda: device.run("matmul", X, X.T),
            lambda: self.buffer.write(X),
            lambda: self.buffer.read("float32", X.shape),
            lambda: device.staging(16),
            device.stream,
            lambda: device.buffer(16),
            lambda: vaccel.open(address=self.address),
        ]

    def child(self) -> str:
        """What a child finds: what is in the array, and how each use ends."""
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        found = {outcome(use) for use in self.uses()}
        seen = set(self.staged.tolist())
        assert np.array_equal(self.held, LARGE)
        self.staged[:] = self.held[:] = 9
        self.device.close()
        return f"child {seen} {found} {set(self.staged.tolist())}"


def python(app: App) -> int:
    """Fork as Python does; the child's pid."""
    if pid := os.fork():
        return pid
    say(app.child())
    faulthandler.cancel_dump_traceback_later()
    while True:
        signal.pause()


def c(_app: App) -> int:
    """Fork as a library does that knows no Python; the child's pid."""
    libc = ctypes.PyDLL(None)
    if pid := libc.fork():
        return int(pid)
    while True:
        libc.pause()


def busy(app: App) -> None:
    """Fork while threads are anywhere in the SDK."""
    stop = threading.Event()

    def call(use: Callable[[], object]) -> None:
        while not stop.is_set():
            use()

    def stage() -> None:
        app.device.staging(4096, "uint8")[:] = 1

    def wait() -> None:
        app.stream.submit(*[Nop()] * 100).wait()

    uses = (stage, wait, lambda: app.model(X), lambda: app.device.run("matmul", X, X.T))
    threads = [threading.Thread(target=call, args=(use,)) for use in uses]
    for thread in threads:
        thread.start()
    found = set()
    for _ in range(20):
        reader, writer = os.pipe()
        if not (pid := os.fork()):
            os.write(writer, app.child().encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(pid, 0)
        found.add((status, os.read(reader, 4096).decode()))
        os.close(reader)
    stop.set()
    for thread in threads:
        thread.join()
    assert np.array_equal(app.held, LARGE)
    say(found, outcome(lambda: app.model(X)), app.device.path)
    app.device.close()


def first(address: str) -> None:
    """Fork before there is a device."""
    pid = os.fork()
    with vaccel.open(address=address, path=PATH) as device:
        good = (device.run("matmul", X, X.T) == 4).all()
    if pid:
        good = good and os.waitpid(pid, 0)[1] == 0
        say(good)
    elif not good:
        sys.exit(1)


def main(address: str, how: str) -> None:
    if how == "first":
        return first(address)
    app = App(address)
    if how == "busy":
        return busy(app)
    say("parent", {"python": python, "c": c}[how](app))
    for line in sys.stdin:
        app.staged[:] = int(line)
        say("parent", outcome(lambda: app.stream.submit(Nop()).wait(10)))


if __name__ == "__main__":
    main(*sys.argv[1:])
