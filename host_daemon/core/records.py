"""What the daemon remembers: one frozen record per noun, as the store keeps it.

Sizes are bytes, times are Unix nanoseconds, digests are SHA-256 (32 raw bytes). An empty text means
"none". Only what must survive the daemon is here; what can be asked of a worker (usage, contexts)
is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from host_daemon.core.lifecycle import VfState, VmState

# The tenant of objects for which nobody named one.
DEFAULT_TENANT: Final = "default"


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """Who owns objects. The id is the operator's own name for it, the same on every host."""

    id: str
    created_unix_ns: int


@dataclass(frozen=True, slots=True)
class PfRecord:
    """A card of this host. ``name`` is the configuration's, ``card`` the name of the card file."""

    id: str
    name: str
    kind: str
    card: str
    cores: int
    memory_bytes: int
    created_unix_ns: int


@dataclass(frozen=True, slots=True)
class VfRecord:
    """A VF. Attached to ``vm`` (an id), or to this host where ``local``; neither when it is ready.

    ``worker_pid`` and ``worker_started`` (the start time in clock ticks of /proc/PID/stat) together
    name one process, because a pid alone is soon another's; 0 and 0 mean that there is none.
    """

    id: str
    name: str
    tenant: str
    pf: str
    profile: str
    cores: tuple[int, ...]
    memory_bytes: int
    window_bytes: int
    state: VfState
    epoch: int
    created_unix_ns: int
    vm: str = ""
    local: bool = False
    enrolled: bool = False
    reason: str = ""
    worker_pid: int = 0
    worker_started: int = 0

    def __str__(self) -> str:
        return f"VF {self.name}"


@dataclass(frozen=True, slots=True)
class VmRecord:
    """A VM. ``image`` and ``image_digest`` name what it booted; ``started`` as in ``VfRecord``."""

    id: str
    name: str
    tenant: str
    state: VmState
    memory_bytes: int
    cpus: int
    image: str
    image_digest: str
    accelerator: str
    started_unix_ns: int
    data_dir: str = ""
    pid: int = 0
    pid_started: int = 0
    reason: str = ""

    def __str__(self) -> str:
        return f"VM {self.name}"


class IntentKind(StrEnum):
    """What was about to happen."""

    VF_CREATE = "vf.create"
    VF_ATTACH = "vf.attach"
    VF_DETACH = "vf.detach"
    VF_DESTROY = "vf.destroy"
    VM_START = "vm.start"
    VM_STOP = "vm.stop"


@dataclass(frozen=True, slots=True)
class Intent:
    """An effect that was announced and has not been confirmed. At most one per object."""

    id: str
    kind: IntentKind
    object: str
    created_unix_ns: int
    # Plain JSON: whatever the effect needs to be undone or finished and no record says.
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The one-time token of a VF's present epoch, as its digest. At most one per VF."""

    vf: str
    epoch: int
    sha256: bytes
    used_unix_ns: int = 0  # 0: not yet


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """What the agent got for its token, as its digest; void once the VF has another epoch."""

    vf: str
    epoch: int
    sha256: bytes
    created_unix_ns: int


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who asked for what, and what came of it. ``code`` is "OK" or the name of an error class."""

    when_unix_ns: int
    principal: str
    role: str
    method: str
    object: str
    code: str
