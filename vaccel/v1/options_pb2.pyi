from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_ADMIN: _ClassVar[Role]
    ROLE_TENANT: _ClassVar[Role]
    ROLE_ANYONE: _ClassVar[Role]

class Quota(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUOTA_UNSPECIFIED: _ClassVar[Quota]
    QUOTA_NONE: _ClassVar[Quota]
    QUOTA_REQUESTS: _ClassVar[Quota]
    QUOTA_OBJECTS: _ClassVar[Quota]
    QUOTA_BYTES: _ClassVar[Quota]

class Audit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_UNSPECIFIED: _ClassVar[Audit]
    AUDIT_NONE: _ClassVar[Audit]
    AUDIT_ALWAYS: _ClassVar[Audit]
ROLE_UNSPECIFIED: Role
ROLE_ADMIN: Role
ROLE_TENANT: Role
ROLE_ANYONE: Role
QUOTA_UNSPECIFIED: Quota
QUOTA_NONE: Quota
QUOTA_REQUESTS: Quota
QUOTA_OBJECTS: Quota
QUOTA_BYTES: Quota
AUDIT_UNSPECIFIED: Audit
AUDIT_NONE: Audit
AUDIT_ALWAYS: Audit
RULE_FIELD_NUMBER: _ClassVar[int]
rule: _descriptor.FieldDescriptor

class Rule(_message.Message):
    __slots__ = ("role", "owner_field", "quota", "audit")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    role: Role
    owner_field: str
    quota: Quota
    audit: Audit
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., owner_field: _Optional[str] = ..., quota: _Optional[_Union[Quota, str]] = ..., audit: _Optional[_Union[Audit, str]] = ...) -> None: ...
