from vaccel.v1 import admin_pb2 as _admin_pb2
from vaccel.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HelloRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("vf", "epoch", "pid", "contexts")
    VF_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    vf: str
    epoch: int
    pid: int
    contexts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, vf: _Optional[str] = ..., epoch: _Optional[int] = ..., pid: _Optional[int] = ..., contexts: _Optional[_Iterable[str]] = ...) -> None: ...

class ShareWindowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShareWindowReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BeginEpochRequest(_message.Message):
    __slots__ = ("epoch", "header")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    header: bytes
    def __init__(self, epoch: _Optional[int] = ..., header: _Optional[bytes] = ...) -> None: ...

class BeginEpochReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EraseTokenRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EraseTokenReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetUsageReply(_message.Message):
    __slots__ = ("usage",)
    USAGE_FIELD_NUMBER: _ClassVar[int]
    usage: _admin_pb2.Usage
    def __init__(self, usage: _Optional[_Union[_admin_pb2.Usage, _Mapping]] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShutdownReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetConditionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetConditionReply(_message.Message):
    __slots__ = ("conditions",)
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    conditions: _containers.RepeatedCompositeFieldContainer[_admin_pb2.Condition]
    def __init__(self, conditions: _Optional[_Iterable[_Union[_admin_pb2.Condition, _Mapping]]] = ...) -> None: ...

class SetClockRequest(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: float
    def __init__(self, seconds: _Optional[float] = ...) -> None: ...

class SetClockReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecalibrateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecalibrateReply(_message.Message):
    __slots__ = ("cost",)
    COST_FIELD_NUMBER: _ClassVar[int]
    cost: _types_pb2.Cost
    def __init__(self, cost: _Optional[_Union[_types_pb2.Cost, _Mapping]] = ...) -> None: ...
