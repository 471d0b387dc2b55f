from vaccel.v1 import options_pb2 as _options_pb2
from vaccel.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusReply(_message.Message):
    __slots__ = ("host", "version", "pid", "uptime_seconds", "accelerator", "accelerator_reason", "guest_endpoint", "pfs", "vfs", "vms", "memory_admitted_bytes", "memory_limit_bytes", "warnings")
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_REASON_FIELD_NUMBER: _ClassVar[int]
    GUEST_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    PFS_FIELD_NUMBER: _ClassVar[int]
    VFS_FIELD_NUMBER: _ClassVar[int]
    VMS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_ADMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
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
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, host: _Optional[str] = ..., version: _Optional[str] = ..., pid: _Optional[int] = ..., uptime_seconds: _Optional[int] = ..., accelerator: _Optional[str] = ..., accelerator_reason: _Optional[str] = ..., guest_endpoint: _Optional[str] = ..., pfs: _Optional[int] = ..., vfs: _Optional[int] = ..., vms: _Optional[int] = ..., memory_admitted_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class PF(_message.Message):
    __slots__ = ("id", "name", "kind", "card", "cores", "cores_free", "memory_bytes", "memory_free_bytes", "clock_hz", "profiles", "fits", "core_owners", "source", "figures", "conditions")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    CORES_FREE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_HZ_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    CORE_OWNERS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    kind: str
    card: str
    cores: int
    cores_free: int
    memory_bytes: int
    memory_free_bytes: int
    clock_hz: float
    profiles: _containers.RepeatedCompositeFieldContainer[_types_pb2.Profile]
    fits: _containers.RepeatedScalarFieldContainer[int]
    core_owners: _containers.RepeatedCompositeFieldContainer[CoreOwner]
    source: str
    figures: _containers.RepeatedCompositeFieldContainer[Figure]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., card: _Optional[str] = ..., cores: _Optional[int] = ..., cores_free: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_free_bytes: _Optional[int] = ..., clock_hz: _Optional[float] = ..., profiles: _Optional[_Iterable[_Union[_types_pb2.Profile, _Mapping]]] = ..., fits: _Optional[_Iterable[int]] = ..., core_owners: _Optional[_Iterable[_Union[CoreOwner, _Mapping]]] = ..., source: _Optional[str] = ..., figures: _Optional[_Iterable[_Union[Figure, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("name", "value", "unit", "note", "level")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    unit: str
    note: str
    level: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., note: _Optional[str] = ..., level: _Optional[str] = ...) -> None: ...

class Figure(_message.Message):
    __slots__ = ("name", "value", "unit", "published", "source", "unverified", "note")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UNVERIFIED_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    unit: str
    published: float
    source: str
    unverified: bool
    note: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., published: _Optional[float] = ..., source: _Optional[str] = ..., unverified: bool = ..., note: _Optional[str] = ...) -> None: ...

class CoreOwner(_message.Message):
    __slots__ = ("core", "vf")
    CORE_FIELD_NUMBER: _ClassVar[int]
    VF_FIELD_NUMBER: _ClassVar[int]
    core: int
    vf: str
    def __init__(self, core: _Optional[int] = ..., vf: _Optional[str] = ...) -> None: ...

class ListPFsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPFsReply(_message.Message):
    __slots__ = ("pfs",)
    PFS_FIELD_NUMBER: _ClassVar[int]
    pfs: _containers.RepeatedCompositeFieldContainer[PF]
    def __init__(self, pfs: _Optional[_Iterable[_Union[PF, _Mapping]]] = ...) -> None: ...

class VF(_message.Message):
    __slots__ = ("id", "name", "tenant", "pf", "profile", "state", "epoch", "cores", "attachment", "worker_pid", "usage", "created_unix_ns", "reason", "conditions")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PF_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    WORKER_PID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    tenant: str
    pf: str
    profile: _types_pb2.Profile
    state: str
    epoch: int
    cores: _containers.RepeatedScalarFieldContainer[int]
    attachment: Attachment
    worker_pid: int
    usage: Usage
    created_unix_ns: int
    reason: str
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., tenant: _Optional[str] = ..., pf: _Optional[str] = ..., profile: _Optional[_Union[_types_pb2.Profile, _Mapping]] = ..., state: _Optional[str] = ..., epoch: _Optional[int] = ..., cores: _Optional[_Iterable[int]] = ..., attachment: _Optional[_Union[Attachment, _Mapping]] = ..., worker_pid: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., created_unix_ns: _Optional[int] = ..., reason: _Optional[str] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ...) -> None: ...

class Attachment(_message.Message):
    __slots__ = ("vm", "socket", "enrolled")
    VM_FIELD_NUMBER: _ClassVar[int]
    SOCKET_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_FIELD_NUMBER: _ClassVar[int]
    vm: str
    socket: str
    enrolled: bool
    def __init__(self, vm: _Optional[str] = ..., socket: _Optional[str] = ..., enrolled: bool = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("contexts", "buffers", "programs", "memory_bytes", "launches", "device_ns", "joules", "errors", "idle_joules", "queues", "descriptors", "malformed", "broken_queues", "empty_doorbells", "throttled")
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAUNCHES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NS_FIELD_NUMBER: _ClassVar[int]
    JOULES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    IDLE_JOULES_FIELD_NUMBER: _ClassVar[int]
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTORS_FIELD_NUMBER: _ClassVar[int]
    MALFORMED_FIELD_NUMBER: _ClassVar[int]
    BROKEN_QUEUES_FIELD_NUMBER: _ClassVar[int]
    EMPTY_DOORBELLS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    contexts: int
    buffers: int
    programs: int
    memory_bytes: int
    launches: int
    device_ns: int
    joules: float
    errors: int
    idle_joules: float
    queues: int
    descriptors: int
    malformed: int
    broken_queues: int
    empty_doorbells: int
    throttled: int
    def __init__(self, contexts: _Optional[int] = ..., buffers: _Optional[int] = ..., programs: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., launches: _Optional[int] = ..., device_ns: _Optional[int] = ..., joules: _Optional[float] = ..., errors: _Optional[int] = ..., idle_joules: _Optional[float] = ..., queues: _Optional[int] = ..., descriptors: _Optional[int] = ..., malformed: _Optional[int] = ..., broken_queues: _Optional[int] = ..., empty_doorbells: _Optional[int] = ..., throttled: _Optional[int] = ...) -> None: ...

class CreateVFRequest(_message.Message):
    __slots__ = ("profile", "pf", "name", "tenant", "seed")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PF_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    profile: str
    pf: str
    name: str
    tenant: str
    seed: str
    def __init__(self, profile: _Optional[str] = ..., pf: _Optional[str] = ..., name: _Optional[str] = ..., tenant: _Optional[str] = ..., seed: _Optional[str] = ...) -> None: ...

class ListVFsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVFsReply(_message.Message):
    __slots__ = ("vfs",)
    VFS_FIELD_NUMBER: _ClassVar[int]
    vfs: _containers.RepeatedCompositeFieldContainer[VF]
    def __init__(self, vfs: _Optional[_Iterable[_Union[VF, _Mapping]]] = ...) -> None: ...

class GetVFRequest(_message.Message):
    __slots__ = ("vf",)
    VF_FIELD_NUMBER: _ClassVar[int]
    vf: str
    def __init__(self, vf: _Optional[str] = ...) -> None: ...

class DestroyVFRequest(_message.Message):
    __slots__ = ("vf", "force")
    VF_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    vf: str
    force: bool
    def __init__(self, vf: _Optional[str] = ..., force: bool = ...) -> None: ...

class DestroyVFReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttachVFRequest(_message.Message):
    __slots__ = ("vf", "vm", "local", "no_wait")
    VF_FIELD_NUMBER: _ClassVar[int]
    VM_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FIELD_NUMBER: _ClassVar[int]
    NO_WAIT_FIELD_NUMBER: _ClassVar[int]
    vf: str
    vm: str
    local: bool
    no_wait: bool
    def __init__(self, vf: _Optional[str] = ..., vm: _Optional[str] = ..., local: bool = ..., no_wait: bool = ...) -> None: ...

class DetachVFRequest(_message.Message):
    __slots__ = ("vf", "force")
    VF_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    vf: str
    force: bool
    def __init__(self, vf: _Optional[str] = ..., force: bool = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("step", "fraction")
    STEP_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    step: str
    fraction: float
    def __init__(self, step: _Optional[str] = ..., fraction: _Optional[float] = ...) -> None: ...

class VFEvent(_message.Message):
    __slots__ = ("progress", "vf")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    VF_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    vf: VF
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., vf: _Optional[_Union[VF, _Mapping]] = ...) -> None: ...

class VM(_message.Message):
    __slots__ = ("id", "name", "tenant", "state", "pid", "memory_bytes", "cpus", "image", "accelerator", "vfs", "started_unix_ns", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_FIELD_NUMBER: _ClassVar[int]
    VFS_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    tenant: str
    state: str
    pid: int
    memory_bytes: int
    cpus: int
    image: str
    accelerator: str
    vfs: _containers.RepeatedScalarFieldContainer[str]
    started_unix_ns: int
    reason: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., tenant: _Optional[str] = ..., state: _Optional[str] = ..., pid: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., cpus: _Optional[int] = ..., image: _Optional[str] = ..., accelerator: _Optional[str] = ..., vfs: _Optional[_Iterable[str]] = ..., started_unix_ns: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class StartVMRequest(_message.Message):
    __slots__ = ("name", "image", "memory_bytes", "cpus", "data_dir", "tenant", "no_wait")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    DATA_DIR_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NO_WAIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    image: str
    memory_bytes: int
    cpus: int
    data_dir: str
    tenant: str
    no_wait: bool
    def __init__(self, name: _Optional[str] = ..., image: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., cpus: _Optional[int] = ..., data_dir: _Optional[str] = ..., tenant: _Optional[str] = ..., no_wait: bool = ...) -> None: ...

class VMEvent(_message.Message):
    __slots__ = ("progress", "vm")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    VM_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    vm: VM
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., vm: _Optional[_Union[VM, _Mapping]] = ...) -> None: ...

class ListVMsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVMsReply(_message.Message):
    __slots__ = ("vms",)
    VMS_FIELD_NUMBER: _ClassVar[int]
    vms: _containers.RepeatedCompositeFieldContainer[VM]
    def __init__(self, vms: _Optional[_Iterable[_Union[VM, _Mapping]]] = ...) -> None: ...

class StopVMRequest(_message.Message):
    __slots__ = ("name", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., force: bool = ...) -> None: ...

class StopVMReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadConsoleRequest(_message.Message):
    __slots__ = ("name", "follow")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    follow: bool
    def __init__(self, name: _Optional[str] = ..., follow: bool = ...) -> None: ...

class ReadConsoleReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ExecVMRequest(_message.Message):
    __slots__ = ("name", "command", "user", "timeout_seconds", "stdin")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    command: _containers.RepeatedScalarFieldContainer[str]
    user: str
    timeout_seconds: int
    stdin: bytes
    def __init__(self, name: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., user: _Optional[str] = ..., timeout_seconds: _Optional[int] = ..., stdin: _Optional[bytes] = ...) -> None: ...

class ExecVMReply(_message.Message):
    __slots__ = ("stdout", "stderr", "exit_code")
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    stdout: bytes
    stderr: bytes
    exit_code: int
    def __init__(self, stdout: _Optional[bytes] = ..., stderr: _Optional[bytes] = ..., exit_code: _Optional[int] = ...) -> None: ...

class BuildImageRequest(_message.Message):
    __slots__ = ("recipe", "rebuild")
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    REBUILD_FIELD_NUMBER: _ClassVar[int]
    recipe: str
    rebuild: bool
    def __init__(self, recipe: _Optional[str] = ..., rebuild: bool = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("name", "digest", "bytes", "built_unix_ns", "current", "path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    BUILT_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    bytes: int
    built_unix_ns: int
    current: bool
    path: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., bytes: _Optional[int] = ..., built_unix_ns: _Optional[int] = ..., current: bool = ..., path: _Optional[str] = ...) -> None: ...

class ImageEvent(_message.Message):
    __slots__ = ("progress", "image")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    image: Image
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., image: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListImagesReply(_message.Message):
    __slots__ = ("images",)
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ...) -> None: ...

class AdvanceClockRequest(_message.Message):
    __slots__ = ("pf", "seconds")
    PF_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    pf: str
    seconds: float
    def __init__(self, pf: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class RecalibrateVFRequest(_message.Message):
    __slots__ = ("vf",)
    VF_FIELD_NUMBER: _ClassVar[int]
    vf: str
    def __init__(self, vf: _Optional[str] = ...) -> None: ...

class RecalibrateVFReply(_message.Message):
    __slots__ = ("vf", "cost")
    VF_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    vf: VF
    cost: _types_pb2.Cost
    def __init__(self, vf: _Optional[_Union[VF, _Mapping]] = ..., cost: _Optional[_Union[_types_pb2.Cost, _Mapping]] = ...) -> None: ...
