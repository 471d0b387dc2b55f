from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Error(_message.Message):
    __slots__ = ("code", "message", "hint")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    hint: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("name", "kind", "cores", "memory_bytes", "bandwidth_bytes_per_second", "window_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    cores: int
    memory_bytes: int
    bandwidth_bytes_per_second: int
    window_bytes: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., cores: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., bandwidth_bytes_per_second: _Optional[int] = ..., window_bytes: _Optional[int] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id", "kind", "card", "profile", "epoch", "memory_free_bytes", "arithmetic", "clock_hz", "max_inline_bytes", "max_chunk_bytes", "max_commands", "max_queue_pairs", "max_slab_bytes", "usual_slab_bytes", "max_descriptors", "max_recordings")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    CLOCK_HZ_FIELD_NUMBER: _ClassVar[int]
    MAX_INLINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_PAIRS_FIELD_NUMBER: _ClassVar[int]
    MAX_SLAB_BYTES_FIELD_NUMBER: _ClassVar[int]
    USUAL_SLAB_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_DESCRIPTORS_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    card: str
    profile: Profile
    epoch: int
    memory_free_bytes: int
    arithmetic: _containers.RepeatedScalarFieldContainer[str]
    clock_hz: float
    max_inline_bytes: int
    max_chunk_bytes: int
    max_commands: int
    max_queue_pairs: int
    max_slab_bytes: int
    usual_slab_bytes: int
    max_descriptors: int
    max_recordings: int
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., card: _Optional[str] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ..., epoch: _Optional[int] = ..., memory_free_bytes: _Optional[int] = ..., arithmetic: _Optional[_Iterable[str]] = ..., clock_hz: _Optional[float] = ..., max_inline_bytes: _Optional[int] = ..., max_chunk_bytes: _Optional[int] = ..., max_commands: _Optional[int] = ..., max_queue_pairs: _Optional[int] = ..., max_slab_bytes: _Optional[int] = ..., usual_slab_bytes: _Optional[int] = ..., max_descriptors: _Optional[int] = ..., max_recordings: _Optional[int] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "inline", "range")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    inline: bytes
    range: BufferRange
    def __init__(self, dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., inline: _Optional[bytes] = ..., range: _Optional[_Union[BufferRange, _Mapping]] = ...) -> None: ...

class BufferRange(_message.Message):
    __slots__ = ("buffer", "offset")
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    buffer: int
    offset: int
    def __init__(self, buffer: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class Strings(_message.Message):
    __slots__ = ("shape", "items")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    items: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., items: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Items(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Table(_message.Message):
    __slots__ = ("keys", "values")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    keys: Value
    values: Value
    def __init__(self, keys: _Optional[_Union[Value, _Mapping]] = ..., values: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("tensor", "strings", "items", "nothing", "table")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NOTHING_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    tensor: Tensor
    strings: Strings
    items: Items
    nothing: Nothing
    table: Table
    def __init__(self, tensor: _Optional[_Union[Tensor, _Mapping]] = ..., strings: _Optional[_Union[Strings, _Mapping]] = ..., items: _Optional[_Union[Items, _Mapping]] = ..., nothing: _Optional[_Union[Nothing, _Mapping]] = ..., table: _Optional[_Union[Table, _Mapping]] = ...) -> None: ...

class Cost(_message.Message):
    __slots__ = ("cycles", "bytes", "joules", "start_ns", "end_ns", "critical_cycles", "nodes")
    class CyclesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class BytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class JoulesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class NodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    JOULES_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    CRITICAL_CYCLES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    cycles: _containers.ScalarMap[str, int]
    bytes: _containers.ScalarMap[str, int]
    joules: _containers.ScalarMap[str, float]
    start_ns: int
    end_ns: int
    critical_cycles: int
    nodes: _containers.ScalarMap[str, int]
    def __init__(self, cycles: _Optional[_Mapping[str, int]] = ..., bytes: _Optional[_Mapping[str, int]] = ..., joules: _Optional[_Mapping[str, float]] = ..., start_ns: _Optional[int] = ..., end_ns: _Optional[int] = ..., critical_cycles: _Optional[int] = ..., nodes: _Optional[_Mapping[str, int]] = ...) -> None: ...
