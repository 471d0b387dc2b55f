"""``grpc.health.v1`` on the agent's socket, without a package more in the guest.

The messages are those of https://github.com/grpc/grpc/blob/master/doc/health-checking.md, described
here in a pool of their own: a process may hold the official package as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import grpc

SERVING: Final = 1
NOT_SERVING: Final = 2
# Whether each service serves now, by name; "" is the agent as a whole.
Statuses = Mapping[str, Callable[[], bool]]


def add_health(server: grpc.aio.Server, statuses: Statuses) -> None:
    """Register ``grpc.health.v1.Health`` (Check) on a server."""
    import grpc

    request_type, reply_type = _messages()

    async def check(request: Any, context: Any) -> Any:
        serving = statuses.get(request.service)
        if serving is None:
            names = ", ".join(repr(name) for name in statuses)
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r}; there is {names}"
            )
            return None
        return reply_type(status=SERVING if serving() else NOT_SERVING)

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=request_type.FromString,
        response_serializer=lambda reply: reply.SerializeToString(),
    )
    generic = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
    server.add_generic_rpc_handlers((generic,))


def _messages() -> tuple[Any, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3"
    )
    # Types as numbers of descriptor.proto: 9 is string, 5 is int32, which reads as an enum does.
    for name, field, kind in (
        ("HealthCheckRequest", "service", 9),
        ("HealthCheckResponse", "status", 5),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name=field, number=1, label=1, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"grpc.health.v1.{m.name}") for m in file.message_type]
    request, reply = (message_factory.GetMessageClass(message) for message in found)
    return request, reply
