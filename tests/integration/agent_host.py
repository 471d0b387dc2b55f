"""The host's side of an agent, over real gRPC and TLS on the loopback: enrolment, one small VF."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from guest_agent.agent import Agent
from guest_agent.config import Config
from host_daemon.control.recalls import Recalls
from tests.unit.guest_agent.fake_host import device
from tests.unit.guest_agent.fake_sysfs import FakeSysfs, header
from vaccel import bounds
from vaccel.aperture.header import Header, encode
from vaccel.commands import Completion
from vaccel.compute import Compute, Progress
from vaccel.errors import InvalidArgument, NotFound, Unauthenticated, Unsupported
from vaccel.model import Device
from vaccel.rpc.address import SERVER_OPTIONS, open_channel
from vaccel.rpc.enrol import add_enrol
from vaccel.rpc.proxy import GrpcCompute
from vaccel.rpc.server import ContextHolder, add_compute

SERVER_NAME = "vacceld.test.internal"


@dataclass(frozen=True)
class Authority:
    """A certificate authority and a server certificate that it signed."""

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes


def make_authority() -> Authority:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)

    def build(name: str, issuer: str, key: Any, signer: Any, *, ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    return Authority(
        build("ca.test", "ca.test", ca_key, ca_key, ca=True).public_bytes(pem),
        build(SERVER_NAME, "ca.test", key, ca_key, ca=False).public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


class MemoryDevice:
    """A Compute of buffers and null commands: no program can be loaded."""

    def __init__(self, vf: str) -> None:
        self.vf = vf
        self.contexts: dict[str, dict[int, bytearray]] = {}
        self.fences: dict[tuple[str, int], int] = {}
        self.changed = asyncio.Condition()
        self._opened = 0

    async def devices(self) -> Sequence[Device]:
        return [device(self.vf)]

    async def open_context(self, device: str = "", resume: str = "") -> str:
        if resume:
            self._buffers(resume)
            return resume
        self._opened += 1
        context = f"ctx-{self._opened}"
        self.contexts[context] = {}
        return context

    async def close_context(self, context: str) -> None:
        async with self.changed:
            self.contexts.pop(context, None)
            self.changed.notify_all()

    async def allocate(self, context: str, size: int) -> int:
        buffers = self._buffers(context)
        buffers[len(buffers) + 1] = bytearray(size)
        return len(buffers)

    async def free(self, context: str, buffer: int) -> None:
        self._buffers(context).pop(buffer, None)

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        memory = self._buffers(context)[buffer]
        if offset + len(data) > len(memory):
            raise InvalidArgument(f"write of {len(data)} bytes at {offset}: beyond {len(memory)}")
        memory[offset : offset + len(data)] = data

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        return bytes(self._buffers(context)[buffer][offset : offset + length])

    async def load_program(self, context: str, source: Any) -> Any:
        raise Unsupported("this device has no compiler")

    async def unload_program(self, context: str, program: int) -> None:
        self._buffers(context)

    async def estimate(self, context: str, program: int, arguments: Mapping[str, Any]) -> Any:
        raise Unsupported("this device has no compiler")

    async def submit(
        self, context: str, stream: int, first_fence: int, commands: Sequence[Any]
    ) -> None:
        self._buffers(context)
        async with self.changed:
            self.fences[context, stream] = first_fence + len(commands) - 1
            self.changed.notify_all()

    async def wait(
        self, context: str, stream: int, fence: int, timeout: float, acknowledged: int = 0
    ) -> Progress:
        self._buffers(context)
        key = (context, stream)
        async with asyncio.timeout(timeout), self.changed:
            await self.changed.wait_for(lambda: self.fences.get(key, 0) >= fence)
        reached = self.fences[key]
        return Progress(reached, tuple(Completion(n) for n in range(acknowledged + 1, reached + 1)))

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(reached)

    def _buffers(self, context: str) -> dict[int, bytearray]:
        if context not in self.contexts:
            raise NotFound(f"no context {context}")
        return self.contexts[context]


class Host:
    """A daemon's guest endpoint. Its VF outlives its server, as workers outlive the daemon."""

    def __init__(
        self, compute: Compute, vf: str, authority: Authority, grace: float = 30.0
    ) -> None:
        self.compute = compute
        self.authority = authority
        self.header: Header = replace(
            header(), vf=vf, server_name=SERVER_NAME, ca_pem=authority.ca_pem
        )
        self.credentials: set[str] = set()
        self.recalls = Recalls()
        self.enrolments = 0
        self._token: bytes | None = self.header.token
        self._grace = grace
        self._port = 0
        self._server: grpc.aio.Server | None = None
        self._holder: ContextHolder | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._holder = ContextHolder(self._grace)
        add_enrol(self._server, self._enrol, lambda _principal: self.recalls.watch("vf"))
        add_compute(self._server, lambda _principal: self.compute, self._holder, self._admit)
        authority = self.authority
        keys = grpc.ssl_server_credentials([(authority.key_pem, authority.certificate_pem)])
        self._port = self._server.add_secure_port(f"127.0.0.1:{self._port}", keys)
        await self._server.start()
        self.header = replace(self.header, endpoint=f"127.0.0.1:{self._port}")

    async def stop(self) -> None:
        if self._server is not None and self._holder is not None:
            await self._server.stop(None)
            await self._holder.close()
            self._server = None

    async def _enrol(self, vf: str, epoch: int, token: bytes, version: str) -> str:
        if (vf, epoch, token) != (self.header.vf, self.header.epoch, self._token):
            raise Unauthenticated(f"token of {vf} is forged or was used")
        self._token = None
        self.enrolments += 1
        credential = hashlib.sha256(token + bytes([self.enrolments])).hexdigest()
        self.credentials = {credential}
        return credential

    @asynccontextmanager
    async def _admit(self, _rule: Any, metadata: Any, _request: Any) -> AsyncIterator[None]:
        if metadata.get("authorization", "").removeprefix("Bearer ") not in self.credentials:
            raise Unauthenticated("no such credential")
        yield


class Lines(logging.Handler):
    """What an agent logs, and when: each line is an event."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[str] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self._seen.append(record.getMessage())
        self._more.set()

    async def until(self, *parts: str) -> None:
        """Until a line was logged that has all parts; it counts once."""
        async with asyncio.timeout(20):
            while True:
                for line in self._seen:
                    if all(part in line for part in parts):
                        self._seen.remove(line)
                        return
                self._more.clear()
                await self._more.wait()


class Guest:
    """An agent in this process, over a PCI bus in a folder."""

    ADDRESS = "0000:00:05.0"

    def __init__(self, folder: Path) -> None:
        self.sysfs = FakeSysfs(folder / "sys")
        self.config = Config(
            socket=f"unix:{folder}/agent.sock",
            state_dir=str(folder / "state"),
            sysfs=str(self.sysfs.root),
            rescan_seconds=0.1,
        )
        self.lines = Lines()

    def plug(self, seen: Header, address: str = ADDRESS) -> None:
        self.sysfs.plug(address, encode(seen))

    @asynccontextmanager
    async def agent(self, retry_seconds: float = bounds.RETRY_SECONDS) -> AsyncIterator[Agent]:
        agent, stop = Agent(self.config, retry_seconds=retry_seconds), asyncio.Event()
        log = logging.getLogger("guest_agent")
        log.setLevel(logging.INFO)
        log.addHandler(self.lines)
        task = asyncio.create_task(agent.run(stop))
        try:
            yield agent
        finally:
            stop.set()
            await task
            log.removeHandler(self.lines)

    @asynccontextmanager
    async def app(self) -> AsyncIterator[GrpcCompute]:
        """An app that waits until its agent is there, and leaves as one that dies."""
        channel = open_channel(self.config.socket)
        try:
            async with asyncio.timeout(20):
                while (state := channel.get_state(True)) is not grpc.ChannelConnectivity.READY:
                    await channel.wait_for_state_change(state)
            yield GrpcCompute(channel, peer="the agent")
        finally:
            await channel.close(None)
