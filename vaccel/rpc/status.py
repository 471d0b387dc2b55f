"""Errors to gRPC statuses and back: one table.

The status code is for clients that know only gRPC; ours reads the error itself from the trailing
metadata ``vaccel-error-bin``, because RESOURCE_EXHAUSTED, say, also means "message too large".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from vaccel import errors
from vaccel.rpc import convert
from vaccel.v1 import types_pb2

if TYPE_CHECKING:
    import grpc

TRAILER: Final = "vaccel-error-bin"

# Names of grpc.StatusCode, so that this table loads without grpc.
CODES: Final[dict[type[errors.VaccelError], str]] = {
    errors.VaccelError: "UNKNOWN",
    errors.InvalidArgument: "INVALID_ARGUMENT",
    errors.InvalidModel: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.WrongState: "FAILED_PRECONDITION",
    errors.Exhausted: "RESOURCE_EXHAUSTED",
    errors.PermissionDenied: "PERMISSION_DENIED",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.Unsupported: "UNIMPLEMENTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.TimedOut: "DEADLINE_EXCEEDED",
    errors.Cancelled: "CANCELLED",
    errors.DeviceLost: "DATA_LOSS",
    errors.Detached: "ABORTED",
    errors.HostFault: "FAILED_PRECONDITION",
    errors.Internal: "INTERNAL",
}

# What a status means that came without our trailer: from the transport, a proxy, or another server.
_BARE: Final[dict[str, type[errors.VaccelError]]] = {
    "UNAVAILABLE": errors.Unavailable,
    "DEADLINE_EXCEEDED": errors.TimedOut,
    "UNIMPLEMENTED": errors.Unsupported,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "PERMISSION_DENIED": errors.PermissionDenied,
    "RESOURCE_EXHAUSTED": errors.Exhausted,
    "CANCELLED": errors.Unavailable,
    "INVALID_ARGUMENT": errors.InvalidArgument,
    "NOT_FOUND": errors.NotFound,
}


def trailer_of(error: errors.VaccelError) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries an error."""
    return ((TRAILER, convert.to_error(error).SerializeToString()),)


def code_of(error: errors.VaccelError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    import grpc

    code: grpc.StatusCode = getattr(grpc.StatusCode, CODES[type(error)])
    return code


def error_of(call: Any, peer: str) -> errors.VaccelError:
    """The error behind a failed call (grpc.RpcError or AioRpcError) to ``peer``."""
    for key, value in call.trailing_metadata() or ():
        if key == TRAILER and isinstance(value, bytes):
            try:
                return convert.error_of(types_pb2.Error.FromString(value))
            except DecodeError:
                break
    code = call.code().name
    details = call.details() or code
    cls = _BARE.get(code, errors.Internal)
    if cls is errors.Unavailable:
        return cls(f"no answer from {peer}: {details}", hint="is the server running?")
    return cls(f"{peer}: {details}")
