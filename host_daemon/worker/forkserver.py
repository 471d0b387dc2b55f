"""The fork server: has the kernels' libraries loaded, and forks workers that share their pages.

``python -m host_daemon.worker.forkserver FD``: FD is a unix socket of whole messages. A request is
a ``WorkerSpec`` with the descriptors of ``spec.Descriptors``, in order (that of cells where the
card has such); the answer is a JSON object: ``{"pid": …}``, or ``{"code": …, …}``.
It ends when the daemon's side closes. Workers are forked twice and lead sessions of their own, so
they outlive it and the daemon.

It has one thread and never imports grpc: what is forked must not hold another thread's locks.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from host_daemon.compiler import contributed, sessions
from host_daemon.devices import registry
from host_daemon.worker import main as worker
from host_daemon.worker import sandbox
from host_daemon.worker.spec import Descriptors, WorkerSpec
from vaccel import bounds
from vaccel.errors import HostFault, Internal, InvalidArgument, VaccelError, from_code

log = logging.getLogger(__name__)

_DESCRIPTORS = 4
_MOST_DESCRIPTORS = 5  # the file of cells
_REPLY_BYTES = 4 * bounds.KIB


def serve(control: socket.socket) -> None:
    """Answer requests until the daemon's side closes."""
    gc.collect()
    # What is here now is never freed: keep the collector from touching, and so copying, its pages.
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(
            control, bounds.WORKER_SPEC_BYTES, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return
        try:
            reply = _spawn(data, fds, control)
        except VaccelError as error:
            reply = _failure(error)
        finally:
            for fd in fds:
                os.close(fd)
        try:
            control.send(json.dumps(reply).encode())
        except ConnectionError:
            # The daemon died meanwhile: nobody knows of this worker.
            if "pid" in reply:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(str(reply["pid"])), signal.SIGKILL)
            return


def _spawn(data: bytes, fds: list[int], control: socket.socket) -> dict[str, object]:
    spec = WorkerSpec.decode(data)
    wanted = _MOST_DESCRIPTORS if spec.cells_bytes else _DESCRIPTORS
    if len(fds) != wanted:
        raise InvalidArgument(f"worker of {spec.vf}: {len(fds)} descriptors, not {wanted}")
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise Internal(f"fork server has {threads} threads")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        middle = os.fork()
        if middle == 0:
            _fork_again(spec, fds, writer)
        os.close(writer)
        writer = -1
        os.waitpid(middle, 0)
        return _await_ready(spec, reader)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _fork_again(spec: WorkerSpec, fds: list[int], report: int) -> NoReturn:
    """In the child: leave the session, fork the worker, and go."""
    try:
        os.setsid()
        if os.fork() == 0:
            _be_worker(spec, fds, report)
    finally:
        os._exit(0)


def _be_worker(spec: WorkerSpec, fds: list[int], report: int) -> NoReturn:
    code = 1
    try:
        _reset_process()
        sandbox.close_all_but([*fds, report])
        tell = _reporter(report)
        tell({"pid": os.getpid()})

        def ready() -> None:
            if not tell({"ready": True}):
                raise HostFault(f"worker of {spec.vf}: whoever asked for it has gone")
            os.close(report)

        try:
            worker.work(spec, Descriptors(*fds), ready)
            code = 0
        except VaccelError as error:
            log.error("worker of %s: %s", spec.vf, error)
            tell(_failure(error))
        except OSError as fault:
            log.exception("worker of %s", spec.vf)
            tell(_failure(HostFault(f"worker of {spec.vf} cannot start: {fault}")))
    finally:
        logging.shutdown()
        os._exit(code)


def _reset_process() -> None:
    """What a program started afresh would find, save for what is loaded."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    os.chdir("/")


def _reporter(report: int) -> Callable[[dict[str, object]], bool]:
    """Writes lines to a pipe; False where nobody listens any more."""

    def tell(line: dict[str, object]) -> bool:
        try:
            os.write(report, json.dumps(line).encode() + b"\n")
        except OSError:
            return False
        return True

    return tell


def _await_ready(spec: WorkerSpec, reader: int) -> dict[str, object]:
    """What the worker says of its start. It is killed where it takes too long."""
    text = b""
    pid = 0
    while len(text) < _REPLY_BYTES:
        if not select.select([reader], [], [], bounds.WORKER_START_SECONDS)[0]:
            if pid:
                os.kill(pid, signal.SIGKILL)
            raise HostFault(
                f"worker of {spec.vf} did not start within {bounds.WORKER_START_SECONDS:g} s"
            )
        piece = os.read(reader, _REPLY_BYTES)
        text += piece
        for line in text.split(b"\n")[:-1]:
            said = json.loads(line)
            if "code" in said:
                raise from_code(said["code"], said["message"], said["hint"])
            pid = said.get("pid", pid)
            if "ready" in said:
                return {"pid": pid}
        if not piece:
            break
    raise HostFault(
        f"worker of {spec.vf} died while it started", hint="its log says why: see vacceld's log"
    )


def _failure(error: VaccelError) -> dict[str, object]:
    return {"code": error.code, "message": error.message[:2000], "hint": error.hint[:500]}


def _preload() -> None:
    """Load now what workers would load later, each for itself."""
    import onnx.checker
    import onnx.inliner
    import onnx.shape_inference  # noqa: F401

    # Found out here, once for all workers.
    sessions.saturates()
    contributed.register()
    contributed.names()
    for name in registry.kinds():
        try:
            kind = registry.find_kind(name)
            began = time.monotonic()
            kind.prove()
            log.info("kind %s: self-tests took %.2f s", name, time.monotonic() - began)
        except VaccelError as error:
            log.warning("%s", error)


def main() -> int:
    """The program."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        serve(control)
    return 0


if __name__ == "__main__":
    sys.exit(main())
