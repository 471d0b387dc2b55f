"""One connection to the host: the port that an upstream uses, and its gRPC form."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol

from vaccel.aperture.header import Header

if TYPE_CHECKING:
    import grpc

    from guest_agent.direct import DirectCompute
    from guest_agent.rings import Rings
    from vaccel.compute import Compute


class Connection(Protocol):
    """A connection that is used once: when it breaks, another one is made."""

    async def enrol(self) -> str:
        """A credential for the header's token. Raises Unauthenticated, Unavailable, TimedOut."""

    def compute(self, credential: str) -> Compute:
        """What the host offers to the holder of a credential."""

    def recalled(self, credential: str) -> AsyncGenerator[None, None]:
        """Yields when the host wants the windows back; ending it says that it has them."""

    async def broken(self) -> None:
        """Until a connection that worked works no more."""

    async def close(self) -> None:
        """Let go; calls under way end as cancelled, contexts live on for the host's grace."""


class GrpcConnection:
    """gRPC over TLS to a header's endpoint, trusting the header's authority and nothing else."""

    def __init__(self, header: Header, rings: Rings) -> None:
        from vaccel.rpc.address import Trust, open_channel

        self._header, self._rings = header, rings
        self._peer = f"the host's daemon at {header.endpoint}"
        trust = Trust(header.ca_pem, header.server_name)
        self._channel: grpc.aio.Channel = open_channel(header.endpoint, trust)
        self._computes: list[DirectCompute] = []

    async def enrol(self) -> str:
        """See ``Connection``."""
        from vaccel.rpc.enrol import enrol

        header = self._header
        return await enrol(self._channel, header.vf, header.epoch, header.token)

    def compute(self, credential: str) -> Compute:
        """See ``Connection``."""
        from guest_agent.direct import DirectCompute
        from vaccel.rpc.enrol import authorization

        compute = DirectCompute(
            self._channel, authorization(credential), self._peer, self._rings
        )
        self._computes.append(compute)
        return compute

    def recalled(self, credential: str) -> AsyncGenerator[None, None]:
        """See ``Connection``."""
        from vaccel.rpc.enrol import recalled

        return recalled(self._channel, credential)

    async def broken(self) -> None:
        """See ``Connection``. Call it once a call has succeeded."""
        import grpc

        while self._channel.get_state() is grpc.ChannelConnectivity.READY:
            await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)

    async def close(self) -> None:
        """See ``Connection``."""
        try:
            for compute in self._computes:
                await compute.close()
        finally:
            await self._channel.close(None)
