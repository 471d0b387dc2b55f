"""Services that every gRPC tool expects: ``grpc.health.v1`` and server reflection.

They are public protocols that carry no options of ours. They answer anyone who may open the socket,
and tell no more than which services there are and whether they serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaccel.rpc.rules import SERVICES

if TYPE_CHECKING:
    import grpc


async def add_public(
    server: grpc.aio.Server, services: Sequence[str], reflection: bool = True
) -> None:
    """Serve health (and reflection) for services of ours, by their short names."""
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = [SERVICES[name].full_name for name in services]
    for name in ("", *names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    if reflection:
        from grpc_reflection.v1alpha import reflection as reflect

        listed = (*names, health.SERVICE_NAME, reflect.SERVICE_NAME)
        reflect.enable_server_reflection(listed, server)
