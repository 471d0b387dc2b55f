"""What a host has, as its daemon reports it: frozen values with the fields of ``admin.proto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vaccel.model import Profile, Usage


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity of a card: what its model takes it to be, what is published of it, and where.

    ``name`` is a quantity such as ``bandwidth`` or ``peak int8``; both values are in ``unit``, a
    base unit (``OP/s``, ``B/s``, ``W``, ``J``, ``s``, ``Hz``, ``B``, ``ohm``; "" counts things).
    ``published`` is 0 where nobody did. ``source`` is of the published value where there is one,
    else of the model's; ``unverified`` says that the source calls itself so.
    """

    name: str
    value: float
    unit: str
    published: float = 0.0
    source: str = ""
    unverified: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """How something is that wears or ages, such as ``cell age`` or ``worst wear``.

    ``value`` is in ``unit``, a base unit (``s``, ``J``, ``1`` for a ratio; "" counts things).
    ``level`` is ``ok``, ``warning`` or ``fault``; ``note`` says in words what a reader needs.
    """

    name: str
    value: float
    unit: str = ""
    note: str = ""
    level: str = "ok"


@dataclass(frozen=True, slots=True)
class PF:
    """A card. ``fits[name]`` is how many more VFs of that profile fit.

    ``core_owners[i]`` a VF or "".
    """

    id: str
    name: str
    kind: str
    card: str
    cores: int
    cores_free: int
    memory_bytes: int
    memory_free_bytes: int
    clock_hz: float
    profiles: tuple[Profile, ...]
    fits: Mapping[str, int]
    core_owners: tuple[str, ...]
    source: str
    figures: tuple[Figure, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class VF:
    """A VF. ``vm`` or ``socket`` says where it is attached; both are "" otherwise."""

    id: str
    name: str
    tenant: str
    pf: str
    profile: Profile
    state: str
    epoch: int
    cores: tuple[int, ...]
    vm: str
    socket: str
    enrolled: bool
    worker_pid: int
    usage: Usage
    created_unix_ns: int
    reason: str
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class VM:
    """A VM of this host."""

    id: str
    name: str
    tenant: str
    state: str
    pid: int
    memory_bytes: int
    cpus: int
    image: str
    accelerator: str
    vfs: tuple[str, ...]
    started_unix_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Image:
    """A guest image in the cache."""

    name: str
    digest: str
    bytes: int
    built_unix_ns: int
    current: bool
    path: str


@dataclass(frozen=True, slots=True)
class Status:
    """The host at a glance."""

    host: str
    version: str
    pid: int
    uptime_seconds: int
    accelerator: str
    accelerator_reason: str
    guest_endpoint: str
    pfs: int
    vfs: int
    vms: int
    memory_admitted_bytes: int
    memory_limit_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a command in a VM printed; ``stream`` is stdout or stderr."""

    stream: str
    data: bytes
