"""Workers, daemon and keeper are killed under programs that drive their VF by shared memory."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import vaccel
from host_daemon.control.processes import descriptors
from tests.conformance import models
from tests.conformance.compute_session import affine
from tests.integration.daemon_host import SECONDS, DaemonHost, alive, listeners
from vaccel import bounds
from vaccel.aperture import layout
from vaccel.commands import Fill, Nop
from vaccel.errors import DeviceLost, NotFound
from vaccel.fastpath.queue import AppQueue
from vaccel.inventory import VF
from vaccel.model import Usage

X = np.ones((2, 4), np.float32)
# What a program may wait for its VF after a worker was killed.
RECOVERY_SECONDS = 1.0


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as host:
        yield host


def kill_worker(host: DaemonHost, vf: VF) -> float:
    """SIGKILL; when it was sent."""
    began = time.monotonic()
    os.kill(host.admin.vf(vf.id).worker_pid, signal.SIGKILL)
    return began


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    end, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < end
        pause.wait(0.002)


def keeper_of(host: DaemonHost) -> int:
    """The keeper's process."""
    (pid,) = keepers(host)
    return pid


def keepers(host: DaemonHost) -> set[int]:
    """None while one is being replaced.

    By its program's name: whatever the daemon starts has the daemon's sockets for a moment.
    """
    return {pid for pid in listeners(host.folder / "run") if is_keeper(pid)}


def is_keeper(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"host_daemon.keeper.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def holds(pid: int, window: int) -> bool:
    """Whether a process has that memory."""
    with contextlib.suppress(OSError, AssertionError):
        return window_of(pid) == window
    return False


def window_of(pid: int) -> int:
    """Which memory a process has as its VF's window."""
    for fd, link in descriptors(pid).items():
        if link.startswith("/memfd:vaccel-window"):
            return os.stat(f"/proc/{pid}/fd/{fd}").st_ino
    raise AssertionError(f"{pid} has no window")


def test_a_killed_worker_is_replaced_under_the_same_mapping(host: DaemonHost) -> None:
    with host.vf("load") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        model, stream = device.load(models.build("affine")), device.stream()
        staged = device.staging((1 << 20,), "uint8")
        staged[:] = 7
        buffer = device.buffer(1 << 20)
        slow = stream.submit(*[Fill(buffer.at(), 1 << 20, b"ab")] * 1000)
        after = [stream.submit(Nop()) for _ in range(100)]
        window = window_of(host.admin.vf(vf.id).worker_pid)
        began = kill_worker(host, vf)
        for fence in (slow, *after):
            with pytest.raises(DeviceLost):
                fence.wait(SECONDS)
        lost = time.monotonic() - began
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
        back = time.monotonic() - began
        print(f"told after {lost:.3f} s, a result after {back:.3f} s")
        assert device.path == "aperture"
        now = host.admin.vf(vf.id)
        assert (now.state, now.epoch) == ("attached", vf.epoch + 1)
        assert window_of(now.worker_pid) == window

        # The stream goes on; a fence of before does not.
        assert stream.submit(Nop()).wait().fence == 1
        with pytest.raises(DeviceLost):
            slow.wait(SECONDS)
        # The staging array is where it was, and as it was; device memory is gone, by name.
        assert (staged == 7).all()
        with pytest.raises(DeviceLost, match=f"buffer {buffer.id} of 1048576 bytes"):
            buffer.write(staged)
        other = device.buffer(1 << 20)
        other.write(staged)
        assert (other.read_into(device.staging((1 << 20,), "uint8")) == 7).all()
        staged[:] = 9
        other.write(staged)
        assert (other.read("uint8", (1 << 20,)) == 9).all()
        assert host.admin.vf(vf.id).usage.contexts == 1


def test_what_was_recorded_before_is_refused_by_number(host: DaemonHost) -> None:
    with host.vf("record") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        stream = device.stream()
        recording = stream.record(Nop(), Nop())
        recording.replay().wait()
        kill_worker(host, vf)
        with pytest.raises(DeviceLost):
            while True:
                recording.replay().wait(SECONDS)
        with pytest.raises(DeviceLost):
            recording.replay()
        fresh = stream.record(Nop(), Nop(), Nop())
        assert fresh.replay().wait().fence == 3


def test_an_idle_program_notices_nothing_but_its_buffers(host: DaemonHost) -> None:
    for path in ("aperture", "grpc"):
        with host.vf(f"idle-{path}") as vf, vaccel.open(address=vf.socket, path=path) as device:
            model, old = device.load(models.build("affine")), device.buffer(X)
            place = old.at()
            pid = host.admin.vf(vf.id).worker_pid
            kill_worker(host, vf)
            until(lambda pid=pid, vf=vf: host.admin.vf(vf.id).worker_pid not in (0, pid))
            with pytest.raises(DeviceLost):
                model(X)
            for _ in range(2):
                np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
            # A place that was named before the reset is not taken for another buffer's.
            stream = device.stream()
            with pytest.raises((NotFound, DeviceLost), match="epoch"):
                stream.submit(Fill(place, 4, b"a")).wait()
            with pytest.raises(DeviceLost):
                old.read("float32", X.shape)


def test_a_model_file_that_changed_is_not_taken_for_what_was_loaded(
    host: DaemonHost, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(models.build("affine"))
    with host.vf("changed") as vf, vaccel.open(address=vf.socket) as device:
        model, kernel = device.load(file), device.run("matmul", X, X.T)
        file.write_bytes(models.build("affine") + b"\x00")
        kill_worker(host, vf)
        with pytest.raises(DeviceLost):
            while True:
                model(X)
        np.testing.assert_array_equal(device.run("matmul", X, X.T), kernel)
        with pytest.raises(NotFound, match="epoch"):
            model(X)


def test_a_worker_that_is_killed_again_and_again(host: DaemonHost) -> None:
    with host.vf("often") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        model, staged = device.load(models.build("affine")), device.staging((4096,), "uint8")
        spent = []
        for round_ in range(4):
            staged[:] = round_
            began = kill_worker(host, vf)
            with pytest.raises(DeviceLost):
                while True:
                    model(X)
            model(X)
            spent.append(time.monotonic() - began)
            np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
            assert (staged == round_).all() and device.path == "aperture"
        print("from the kill to a result:", ", ".join(f"{one:.3f} s" for one in spent))
        assert min(spent) < RECOVERY_SECONDS  # others may have met a busy machine
        # One slab and one queue pair, however often.
        usage = host.admin.vf(vf.id).usage
        assert (usage.contexts, usage.queues) == (1, 1)


def test_usage_outlives_a_worker(host: DaemonHost) -> None:
    with host.vf("metered") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        model, stream = device.load(models.build("affine")), device.stream()
        for _ in range(5):
            model(X)
        # An app that does what it should not: commands of the future, and then an index that jumps.
        queue = device._queue
        assert queue is not None
        for _ in range(3):
            queue.nop(stream.id, 1 << 40)
        until(lambda: counted(host, vf).malformed == 3)
        jump(queue)
        until(lambda: counted(host, vf).broken_queues == 1)
        before = counted(host, vf)
        kill_worker(host, vf)
        until(lambda: host.admin.vf(vf.id).worker_pid != vf.worker_pid)
        after = counted(host, vf)
        assert (after.launches, after.device_ns) == (before.launches, before.device_ns)
        assert after.joules == before.joules
        assert before.descriptors >= 8 and after.descriptors == before.descriptors
        assert (after.malformed, after.broken_queues) == (3, 1)
        assert after.empty_doorbells >= before.empty_doorbells


def counted(host: DaemonHost, vf: VF) -> Usage:
    """What the VF has done, as soon as its worker says so."""
    until(lambda: host.admin.vf(vf.id).usage is not None)
    usage = host.admin.vf(vf.id).usage
    assert usage is not None
    return usage


def jump(queue: AppQueue) -> None:
    """Write an index that cannot be, and ring."""
    base = layout.queue_offset(queue.lease.queue) // layout.WORD
    queue.window.words[base + layout.SQ_TAIL.word] = 1 << 40
    queue._ring_bell()


def test_the_fast_path_does_not_notice_that_the_daemon_is_killed(host: DaemonHost) -> None:
    with host.vf("steady") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        stream = device.stream()
        stream.submit(Nop()).wait()
        keeper = keeper_of(host)
        host.kill()
        for _ in range(1000):
            stream.submit(Nop()).wait(SECONDS)
        host.start()
        assert keeper_of(host) == keeper
        now = host.admin.vf(vf.id)
        assert (now.epoch, now.worker_pid) == (vf.epoch, vf.worker_pid)
        assert stream.submit(Nop()).wait().fence == 1002
        kill_worker(host, vf)
        with pytest.raises(DeviceLost):
            while True:
                stream.submit(Nop()).wait(SECONDS)
        stream.submit(Nop()).wait()


def test_daemon_and_worker_are_killed_together(host: DaemonHost) -> None:
    with host.vf("both") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        model, stream = device.load(models.build("affine")), device.stream()
        staged = device.staging((4096,), "uint8")
        staged[:] = 5
        window = window_of(vf.worker_pid)
        host.kill()  # first, or it may have begun another epoch by then
        os.kill(vf.worker_pid, signal.SIGKILL)
        fence = stream.submit(Nop())
        host.start()
        with pytest.raises(DeviceLost):
            fence.wait(SECONDS)
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
        now = host.admin.vf(vf.id)
        assert now.epoch == vf.epoch + 1 and window_of(now.worker_pid) == window
        assert (staged == 5).all() and device.path == "aperture"


def test_a_device_that_closes_while_the_daemon_restarts_leaves_no_context(
    host: DaemonHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CLOSE_SECONDS", SECONDS)  # a busy machine may need it
    with host.vf("closing") as vf:
        devices = [vaccel.open(address=vf.socket, path=path) for path in ("aperture", "grpc")]
        host.kill()
        closing = [threading.Thread(target=device.close) for device in devices]
        for thread in closing:
            thread.start()
        host.start()
        for thread in closing:
            thread.join(SECONDS)
        until(lambda: host.admin.vf(vf.id).usage is not None)
        usage = host.admin.vf(vf.id).usage
        assert usage is not None and (usage.contexts, usage.queues) == (0, 0)


def test_a_device_closes_soon_where_no_daemon_comes_back(
    host: DaemonHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CLOSE_SECONDS", 0.1)
    with host.vf("left") as vf:
        device = vaccel.open(address=vf.socket)
        host.kill()
        try:
            device.close()
        finally:
            host.start()


def test_daemon_and_worker_are_killed_together_under_a_grpc_app(host: DaemonHost) -> None:
    with host.vf("remote") as vf, vaccel.open(address=vf.socket, path="grpc") as device:
        model = device.load(models.build("affine"))
        model(X)
        kill_worker(host, vf)
        host.kill()
        host.start()
        with pytest.raises(DeviceLost):
            model(X)
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)


def test_a_keeper_that_is_killed_is_replaced_and_holds_all_again(host: DaemonHost) -> None:
    with host.vf("kept") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        stream = device.stream()
        old = keeper_of(host)
        os.kill(old, signal.SIGKILL)
        window = window_of(vf.worker_pid)
        # It is there before it has been given anything.
        until(lambda: any(holds(pid, window) for pid in keepers(host) - {old}))
        kill_worker(host, vf)
        host.kill()
        fence = stream.submit(Nop())  # else a stream that is idle gets over it without a word
        host.start()
        with pytest.raises(DeviceLost):
            fence.wait(SECONDS)
        stream.submit(Nop()).wait()
        assert window_of(host.admin.vf(vf.id).worker_pid) == window


def test_a_keeper_and_a_daemon_that_are_killed_leave_the_worker_its_window(
    host: DaemonHost,
) -> None:
    with host.vf("alone") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        stream = device.stream()
        keeper = keeper_of(host)
        host.kill()
        os.kill(keeper, signal.SIGKILL)
        host.start()
        stream.submit(Nop()).wait(SECONDS)
        kill_worker(host, vf)
        with pytest.raises(DeviceLost):
            while True:
                stream.submit(Nop()).wait(SECONDS)
        stream.submit(Nop()).wait()


def test_the_keeper_ends_with_the_last_window() -> None:
    with DaemonHost() as host:
        with host.vf("last"):
            keeper = keeper_of(host)
        assert host.stop() == 0
        until(lambda: not alive(keeper))


@pytest.mark.parametrize("path", ["aperture", "grpc"])
def test_daemon_worker_and_keeper_are_killed_together(host: DaemonHost, path: str) -> None:
    with host.vf(f"all-{path}") as vf, vaccel.open(address=vf.socket, path=path) as device:
        model, stream = device.load(models.build("affine")), device.stream()
        staged, buffer = device.staging((4096,), "uint8"), device.buffer(4096)
        staged[:] = 5
        window, keeper = window_of(vf.worker_pid), keeper_of(host)
        host.kill()
        os.kill(keeper, signal.SIGKILL)
        os.kill(vf.worker_pid, signal.SIGKILL)
        fence = stream.submit(Nop()) if path == "aperture" else None
        host.start()
        # As after any reset: what is under way is told so, once, and then it goes on.
        with pytest.raises(DeviceLost):
            if fence is None:
                model(X)
            else:
                fence.wait(SECONDS)
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
        assert stream.submit(Nop()).wait(SECONDS).fence == 1
        with pytest.raises(DeviceLost, match=f"buffer {buffer.id} of 4096 bytes"):
            buffer.write(staged)
        now = host.admin.vf(vf.id)
        assert (now.state, device.path) == ("attached", path)
        # Nobody held the memory any more: the window is another, and the arrays are the app's own.
        assert window_of(now.worker_pid) != window
        assert (staged == 5).all()
        other = device.buffer(4096)
        for array in (staged, device.staging((4096,), "uint8")):
            array[:] = 6
            other.write(array)
            assert (other.read("uint8", (4096,)) == 6).all()
