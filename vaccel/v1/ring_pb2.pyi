from vaccel.v1 import compute_pb2 as _compute_pb2
from vaccel.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SlabTensor(_message.Message):
    __slots__ = ("dtype", "shape", "offset")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    offset: int
    def __init__(self, dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., offset: _Optional[int] = ...) -> None: ...

class CallRequest(_message.Message):
    __slots__ = ("stream", "program", "arguments", "staged", "room_offset", "room_bytes", "results")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    class StagedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SlabTensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SlabTensor, _Mapping]] = ...) -> None: ...
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    ROOM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ROOM_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    stream: int
    program: int
    arguments: _containers.MessageMap[str, _types_pb2.Value]
    staged: _containers.MessageMap[str, SlabTensor]
    room_offset: int
    room_bytes: int
    results: _containers.RepeatedCompositeFieldContainer[_compute_pb2.Result]
    def __init__(self, stream: _Optional[int] = ..., program: _Optional[int] = ..., arguments: _Optional[_Mapping[str, _types_pb2.Value]] = ..., staged: _Optional[_Mapping[str, SlabTensor]] = ..., room_offset: _Optional[int] = ..., room_bytes: _Optional[int] = ..., results: _Optional[_Iterable[_Union[_compute_pb2.Result, _Mapping]]] = ...) -> None: ...

class CallResults(_message.Message):
    __slots__ = ("staged",)
    class StagedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SlabTensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SlabTensor, _Mapping]] = ...) -> None: ...
    STAGED_FIELD_NUMBER: _ClassVar[int]
    staged: _containers.MessageMap[str, SlabTensor]
    def __init__(self, staged: _Optional[_Mapping[str, SlabTensor]] = ...) -> None: ...
