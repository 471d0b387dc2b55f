"""What a worker gives up before it looks at anything that a guest sent.

Each step, and what it stops:

- every descriptor but the declared ones is closed: no way to the daemon, its store, another VF;
- a network namespace of its own, with nothing in it: a kernel or parser that was taken over reaches
  no address, and ONNX Runtime cannot call home;
- a mount namespace of its own, read-only: no file of the host can be changed, and the scratch
  folder is a small tmpfs that vanishes with the process;
- the given user and group, without supplementary groups: the host's files and processes are those
  of strangers, and root's capabilities are gone;
- ``PR_SET_NO_NEW_PRIVS``: no set-uid program brings them back;
- ``RLIMIT_CORE`` 0 and ``PR_SET_DUMPABLE`` 0: a tenant's data is in no core file, and no process of
  the same user can attach a debugger or read this one's memory through /proc;
- ``RLIMIT_NOFILE``, ``RLIMIT_NPROC``, ``RLIMIT_FSIZE``, ``RLIMIT_DATA``: a leak or an attack fails
  here, in this VF, and not in a neighbour;
- ``oom_score_adj`` 1000: where host memory runs out, the kernel takes a worker, never the daemon.

Namespaces, mounts and users need root; where the daemon is not root the others still hold.
"""

from __future__ import annotations

import ctypes
import os
import resource
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaccel import bounds
from vaccel.errors import HostFault

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWNET: Final = 0x40000000
_MS_RDONLY: Final = 1
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - covered by a tmpfs of our own


@dataclass(frozen=True, slots=True)
class Confinement:
    """How a worker is confined. ``scratch`` "" is memory that no one else sees."""

    vf: str
    memory_bytes: int
    uid: int | None
    gid: int | None
    scratch: str


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor except those, stdin, stdout and stderr."""
    low = 3
    for fd in sorted({fd for fd in keep if fd >= low}):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def enter(confinement: Confinement) -> Path:
    """Confine this process for good; the folder it may write traces to.

    Raises HostFault naming the step that should have worked and did not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _write_oom_score()
    private = os.geteuid() == 0 and _unshare(libc)
    scratch = _scratch(libc, confinement, private)
    if private:
        # Best effort: a container may forbid it, and the user below owns nothing there anyway.
        _mount(libc, Path("/"), _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
    _drop_user(confinement)
    _limit(confinement)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    # After the change of user, which would set it anew.
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    return scratch


def _unshare(libc: ctypes.CDLL) -> bool:
    """Whether this process has mounts of its own now. A container may forbid it."""
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS) != 0:
        return False
    return _mount(libc, Path("/"), _MS_REC | _MS_PRIVATE)


def _scratch(libc: ctypes.CDLL, confinement: Confinement, private: bool) -> Path:
    folder = Path(confinement.scratch) if confinement.scratch else _SHARED_MEMORY
    if private and folder.is_dir():
        options = f"size={bounds.TRACE_BYTES},mode=0700"
        if confinement.uid is not None:
            options += f",uid={confinement.uid}"
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        if _mount(libc, folder, flags, kind="tmpfs", options=options):
            return folder
    if confinement.scratch:
        return folder
    try:
        made = Path(tempfile.mkdtemp(prefix=f"vaccel-{confinement.vf}-"))
        if confinement.uid is not None and os.geteuid() == 0:
            os.chown(made, confinement.uid, -1)
    except OSError as fault:
        raise HostFault(f"worker of {confinement.vf} has no scratch folder: {fault}") from fault
    return made


def _mount(
    libc: ctypes.CDLL,
    target: Path,
    flags: int,
    *,
    kind: str | None = None,
    options: str | None = None,
) -> bool:
    def text(value: str | None) -> bytes | None:
        return None if value is None else value.encode()

    result = libc.mount(
        text(kind),
        str(target).encode(),
        text(kind),
        ctypes.c_ulong(flags),
        ctypes.c_char_p(text(options)),
    )
    return int(result) == 0


def _drop_user(confinement: Confinement) -> None:
    if os.geteuid() != 0 or confinement.uid is None:
        return
    try:
        os.setgroups([])
        gid = confinement.uid if confinement.gid is None else confinement.gid
        os.setresgid(gid, gid, gid)
        os.setresuid(confinement.uid, confinement.uid, confinement.uid)
    except OSError as fault:
        raise HostFault(
            f"worker of {confinement.vf} cannot become user {confinement.uid}: {fault}",
            hint="start vacceld as root, or configure no user for workers",
        ) from fault


def _limit(confinement: Confinement) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: bounds.WORKER_FILES,
        resource.RLIMIT_NPROC: bounds.WORKER_THREADS,
        resource.RLIMIT_FSIZE: bounds.TRACE_BYTES,
        resource.RLIMIT_DATA: confinement.memory_bytes + bounds.WORKER_HEADROOM_BYTES,
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (most, most))


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise HostFault(f"prctl {option} failed: {os.strerror(ctypes.get_errno())}")


def _write_oom_score() -> None:
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        # A hardened container may hide it; the limits below still hold.
        return
