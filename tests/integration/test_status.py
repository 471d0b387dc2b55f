"""The status page through the SDK, from a worker of its own, which is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import vaccel
from tests.integration.daemon_host import SECONDS, DaemonHost
from vaccel.aperture.status import Status
from vaccel.commands import Nop
from vaccel.errors import Unavailable, VaccelError


def until(device: vaccel.Device, good: Callable[[Status], bool]) -> Status:
    end, pause = time.monotonic() + SECONDS, threading.Event()
    found: Status | VaccelError | None = None
    while time.monotonic() < end:
        try:
            found = device.status
            if found is not None and good(found):
                return found
        except Unavailable as busy:
            found = busy
        pause.wait(0.005)
    raise AssertionError(found)


def test_a_device_shows_what_its_worker_says() -> None:
    with DaemonHost() as host, host.vf("status") as vf:
        with vaccel.open(address=vf.socket, path="grpc") as device:
            assert device.status is None
        with vaccel.open(address=vf.socket, path="aperture") as device:
            first = until(device, lambda found: found.queues_lent == 1)
            assert (first.state_name, first.epoch) == ("serving", vf.epoch)
            device.stream().submit(*[Nop()] * 5).wait()
            assert until(device, lambda found: found.descriptors >= 5).malformed == 0

            os.kill(host.admin.vf(vf.id).worker_pid, signal.SIGKILL)
            end, pause = time.monotonic() + SECONDS, threading.Event()
            while host.admin.vf(vf.id).epoch == vf.epoch and time.monotonic() < end:
                pause.wait(0.005)
            device.staging(1)  # gets over it
            # Between the two it says that it is lost: the worker takes over with its epoch.
            second = until(device, lambda found: found.epoch > vf.epoch and found.serving)
            assert second.epoch == vf.epoch + 1
            assert second.generation > first.generation
        assert device.status is None
