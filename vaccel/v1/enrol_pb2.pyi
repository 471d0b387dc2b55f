from vaccel.v1 import options_pb2 as _options_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("recall",)
    RECALL_FIELD_NUMBER: _ClassVar[int]
    recall: bool
    def __init__(self, recall: bool = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("vf", "epoch", "token", "agent_version")
    VF_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    vf: str
    epoch: int
    token: bytes
    agent_version: str
    def __init__(self, vf: _Optional[str] = ..., epoch: _Optional[int] = ..., token: _Optional[bytes] = ..., agent_version: _Optional[str] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("credential",)
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    credential: str
    def __init__(self, credential: _Optional[str] = ...) -> None: ...
