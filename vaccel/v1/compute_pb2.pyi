from vaccel.v1 import options_pb2 as _options_pb2
from vaccel.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListDevicesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDevicesReply(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[_types_pb2.Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[_types_pb2.Device, _Mapping]]] = ...) -> None: ...

class OpenContextRequest(_message.Message):
    __slots__ = ("device", "resume")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    device: str
    resume: str
    def __init__(self, device: _Optional[str] = ..., resume: _Optional[str] = ...) -> None: ...

class OpenContextReply(_message.Message):
    __slots__ = ("context", "device")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    context: str
    device: _types_pb2.Device
    def __init__(self, context: _Optional[str] = ..., device: _Optional[_Union[_types_pb2.Device, _Mapping]] = ...) -> None: ...

class CloseContextRequest(_message.Message):
    __slots__ = ("context",)
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    context: str
    def __init__(self, context: _Optional[str] = ...) -> None: ...

class CloseContextReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AllocateRequest(_message.Message):
    __slots__ = ("context", "size")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    context: str
    size: int
    def __init__(self, context: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class AllocateReply(_message.Message):
    __slots__ = ("buffer",)
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    buffer: int
    def __init__(self, buffer: _Optional[int] = ...) -> None: ...

class FreeRequest(_message.Message):
    __slots__ = ("context", "buffer")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    context: str
    buffer: int
    def __init__(self, context: _Optional[str] = ..., buffer: _Optional[int] = ...) -> None: ...

class FreeReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("context", "buffer", "offset", "data")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    context: str
    buffer: int
    offset: int
    data: bytes
    def __init__(self, context: _Optional[str] = ..., buffer: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class WriteReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("context", "buffer", "offset", "length")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    context: str
    buffer: int
    offset: int
    length: int
    def __init__(self, context: _Optional[str] = ..., buffer: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ReadReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Dimension(_message.Message):
    __slots__ = ("value", "symbol")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    value: int
    symbol: str
    def __init__(self, value: _Optional[int] = ..., symbol: _Optional[str] = ...) -> None: ...

class Port(_message.Message):
    __slots__ = ("name", "dtype", "shape", "rank_unknown", "optional", "containers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RANK_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    shape: _containers.RepeatedCompositeFieldContainer[Dimension]
    rank_unknown: bool
    optional: bool
    containers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., shape: _Optional[_Iterable[_Union[Dimension, _Mapping]]] = ..., rank_unknown: bool = ..., optional: bool = ..., containers: _Optional[_Iterable[str]] = ...) -> None: ...

class LoadProgramRequest(_message.Message):
    __slots__ = ("context", "onnx", "kernel")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ONNX_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    context: str
    onnx: OnnxSource
    kernel: KernelSource
    def __init__(self, context: _Optional[str] = ..., onnx: _Optional[_Union[OnnxSource, _Mapping]] = ..., kernel: _Optional[_Union[KernelSource, _Mapping]] = ...) -> None: ...

class OnnxSource(_message.Message):
    __slots__ = ("buffer", "offset", "length", "arithmetic", "blobs", "take", "max_error")
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    ARITHMETIC_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    TAKE_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_FIELD_NUMBER: _ClassVar[int]
    buffer: int
    offset: int
    length: int
    arithmetic: str
    blobs: _containers.RepeatedCompositeFieldContainer[Blob]
    take: bool
    max_error: float
    def __init__(self, buffer: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., arithmetic: _Optional[str] = ..., blobs: _Optional[_Iterable[_Union[Blob, _Mapping]]] = ..., take: bool = ..., max_error: _Optional[float] = ...) -> None: ...

class Blob(_message.Message):
    __slots__ = ("name", "offset", "length")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    offset: int
    length: int
    def __init__(self, name: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class KernelSource(_message.Message):
    __slots__ = ("name", "operands", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPERANDS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    operands: _containers.RepeatedCompositeFieldContainer[Port]
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., operands: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class LoadProgramReply(_message.Message):
    __slots__ = ("program", "inputs", "outputs", "weight_bytes", "nodes", "sha256")
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    program: int
    inputs: _containers.RepeatedCompositeFieldContainer[Port]
    outputs: _containers.RepeatedCompositeFieldContainer[Port]
    weight_bytes: int
    nodes: int
    sha256: str
    def __init__(self, program: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., weight_bytes: _Optional[int] = ..., nodes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class UnloadProgramRequest(_message.Message):
    __slots__ = ("context", "program")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    context: str
    program: int
    def __init__(self, context: _Optional[str] = ..., program: _Optional[int] = ...) -> None: ...

class UnloadProgramReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EstimateCostRequest(_message.Message):
    __slots__ = ("context", "program", "arguments")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    context: str
    program: int
    arguments: _containers.MessageMap[str, _types_pb2.Value]
    def __init__(self, context: _Optional[str] = ..., program: _Optional[int] = ..., arguments: _Optional[_Mapping[str, _types_pb2.Value]] = ...) -> None: ...

class EstimateCostReply(_message.Message):
    __slots__ = ("cost",)
    COST_FIELD_NUMBER: _ClassVar[int]
    cost: _types_pb2.Cost
    def __init__(self, cost: _Optional[_Union[_types_pb2.Cost, _Mapping]] = ...) -> None: ...

class Nop(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Copy(_message.Message):
    __slots__ = ("to", "length")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    to: _types_pb2.BufferRange
    length: int
    def __init__(self, to: _Optional[_Union[_types_pb2.BufferRange, _Mapping]] = ..., length: _Optional[int] = ..., **kwargs) -> None: ...

class Fill(_message.Message):
    __slots__ = ("to", "length", "pattern")
    TO_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    to: _types_pb2.BufferRange
    length: int
    pattern: bytes
    def __init__(self, to: _Optional[_Union[_types_pb2.BufferRange, _Mapping]] = ..., length: _Optional[int] = ..., pattern: _Optional[bytes] = ...) -> None: ...

class Store(_message.Message):
    __slots__ = ("to", "data")
    TO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    to: _types_pb2.BufferRange
    data: bytes
    def __init__(self, to: _Optional[_Union[_types_pb2.BufferRange, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Launch(_message.Message):
    __slots__ = ("program", "arguments", "results")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    program: int
    arguments: _containers.MessageMap[str, _types_pb2.Value]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, program: _Optional[int] = ..., arguments: _Optional[_Mapping[str, _types_pb2.Value]] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("name", "to")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    name: str
    to: _types_pb2.BufferRange
    def __init__(self, name: _Optional[str] = ..., to: _Optional[_Union[_types_pb2.BufferRange, _Mapping]] = ...) -> None: ...

class Signal(_message.Message):
    __slots__ = ("stream", "fence")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    stream: int
    fence: int
    def __init__(self, stream: _Optional[int] = ..., fence: _Optional[int] = ...) -> None: ...

class WaitFence(_message.Message):
    __slots__ = ("stream", "fence", "context")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    stream: int
    fence: int
    context: str
    def __init__(self, stream: _Optional[int] = ..., fence: _Optional[int] = ..., context: _Optional[str] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("nop", "copy", "fill", "store", "launch", "signal", "wait")
    NOP_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    nop: Nop
    copy: Copy
    fill: Fill
    store: Store
    launch: Launch
    signal: Signal
    wait: WaitFence
    def __init__(self, nop: _Optional[_Union[Nop, _Mapping]] = ..., copy: _Optional[_Union[Copy, _Mapping]] = ..., fill: _Optional[_Union[Fill, _Mapping]] = ..., store: _Optional[_Union[Store, _Mapping]] = ..., launch: _Optional[_Union[Launch, _Mapping]] = ..., signal: _Optional[_Union[Signal, _Mapping]] = ..., wait: _Optional[_Union[WaitFence, _Mapping]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("context", "stream", "first_fence", "commands")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FIRST_FENCE_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    context: str
    stream: int
    first_fence: int
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    def __init__(self, context: _Optional[str] = ..., stream: _Optional[int] = ..., first_fence: _Optional[int] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("context", "stream", "first_fence", "commands", "timeout_ns", "acknowledged")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FIRST_FENCE_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    context: str
    stream: int
    first_fence: int
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    timeout_ns: int
    acknowledged: int
    def __init__(self, context: _Optional[str] = ..., stream: _Optional[int] = ..., first_fence: _Optional[int] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., timeout_ns: _Optional[int] = ..., acknowledged: _Optional[int] = ...) -> None: ...

class WaitRequest(_message.Message):
    __slots__ = ("context", "stream", "fence", "timeout_ns", "acknowledged")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    context: str
    stream: int
    fence: int
    timeout_ns: int
    acknowledged: int
    def __init__(self, context: _Optional[str] = ..., stream: _Optional[int] = ..., fence: _Optional[int] = ..., timeout_ns: _Optional[int] = ..., acknowledged: _Optional[int] = ...) -> None: ...

class Completion(_message.Message):
    __slots__ = ("fence", "error", "cost", "results")
    class ResultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.Value, _Mapping]] = ...) -> None: ...
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    fence: int
    error: _types_pb2.Error
    cost: _types_pb2.Cost
    results: _containers.MessageMap[str, _types_pb2.Value]
    def __init__(self, fence: _Optional[int] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., cost: _Optional[_Union[_types_pb2.Cost, _Mapping]] = ..., results: _Optional[_Mapping[str, _types_pb2.Value]] = ...) -> None: ...

class WaitReply(_message.Message):
    __slots__ = ("reached", "completions")
    REACHED_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    reached: int
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    def __init__(self, reached: _Optional[int] = ..., completions: _Optional[_Iterable[_Union[Completion, _Mapping]]] = ...) -> None: ...

class LendQueueRequest(_message.Message):
    __slots__ = ("context", "slab_bytes", "after")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SLAB_BYTES_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    context: str
    slab_bytes: int
    after: str
    def __init__(self, context: _Optional[str] = ..., slab_bytes: _Optional[int] = ..., after: _Optional[str] = ...) -> None: ...

class LendQueueReply(_message.Message):
    __slots__ = ("queue", "slab_offset", "slab_bytes", "window_bytes")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    SLAB_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SLAB_BYTES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    queue: int
    slab_offset: int
    slab_bytes: int
    window_bytes: int
    def __init__(self, queue: _Optional[int] = ..., slab_offset: _Optional[int] = ..., slab_bytes: _Optional[int] = ..., window_bytes: _Optional[int] = ...) -> None: ...
