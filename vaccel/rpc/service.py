"""Serving and calling a service straight from its descriptor: no generated stubs.

A server admits each call by its rule before any of its own code runs, turns errors into statuses at
this one border, and bounds every call in time, whatever deadline the client set.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from vaccel import bounds, errors
from vaccel.rpc import convert, status
from vaccel.rpc.rules import Rule, rules_of

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)

Metadata = Mapping[str, str]
# Lets a call in, and yields who makes it; raises to refuse. Leaving it ends the call's accounting.
Admit = Callable[[Rule, Metadata, Message], AbstractAsyncContextManager[Any]]
Unary = Callable[[Any, Any], Awaitable[Message]]
Streaming = Callable[[Any, Any], AsyncIterator[Message]]


@dataclass(frozen=True, slots=True)
class Implementation:
    """What answers one method: a coroutine function, or an async generator for a streamed reply.

    Both take (principal, request). ``seconds`` bounds the whole call; None for streams that live
    long.
    """

    answer: Unary | Streaming
    seconds: float | None


@asynccontextmanager
async def admit_all(_rule: Rule, _metadata: Metadata, _request: Message) -> AsyncIterator[None]:
    """For a server whose socket's permissions decide who may call."""
    yield None


def add_service(
    server: grpc.aio.Server,
    descriptor: Any,
    implementations: Mapping[str, Implementation],
    admit: Admit = admit_all,
) -> None:
    """Register a service. Raises Internal where a method has no rule or no implementation."""
    import grpc

    rules = rules_of(descriptor)
    if missing := set(rules) - set(implementations):
        raise errors.Internal(f"service {descriptor.name}: nothing answers {sorted(missing)}")
    handlers = {}
    for method in descriptor.methods:
        request_type = message_factory.GetMessageClass(method.input_type)
        wrap = _streaming if method.server_streaming else _unary
        make = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        handlers[method.name] = make(
            wrap(rules[method.name], implementations[method.name], admit),
            request_deserializer=_reader(request_type),
            response_serializer=lambda reply: reply.SerializeToString(),
        )
    generic = grpc.method_handlers_generic_handler(descriptor.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))


def _reader(request_type: type[Message]) -> Callable[[bytes], Message | DecodeError]:
    """Reads a request. What cannot be read is passed on: gRPC would call it INTERNAL."""

    def read(data: bytes) -> Message | DecodeError:
        try:
            return request_type.FromString(data)
        except DecodeError as fault:
            return fault

    return read


def _check(rule: Rule, request: Message | DecodeError) -> Message:
    if isinstance(request, DecodeError):
        raise errors.InvalidArgument(
            f"{rule.method}: the request is no such message: {request}",
            hint="is the client of the same version as this server?",
        )
    return request


def _metadata(context: Any) -> Metadata:
    return {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}


@asynccontextmanager
async def _border(rule: Rule, context: Any) -> AsyncIterator[None]:
    """Errors become statuses here and nowhere else."""
    try:
        yield
    except errors.VaccelError as fault:
        error: errors.VaccelError = fault
    except TimeoutError:
        error = errors.TimedOut(f"{rule.method} took longer than its bound")
    except asyncio.CancelledError:
        raise
    except Exception as fault:  # what is not ours is a bug, and says so
        log.exception("bug in %s", rule.method)
        error = errors.Internal(f"{rule.method}: {type(fault).__name__}: {fault}")
    else:
        return
    details = convert.clip(error.message, bounds.HINT_BYTES)
    await context.abort(status.code_of(error), details, status.trailer_of(error))


def _unary(rule: Rule, implementation: Implementation, admit: Admit) -> Any:
    answer: Any = implementation.answer

    async def handler(sent: Message | DecodeError, context: Any) -> Any:
        async with _border(rule, context), asyncio.timeout(implementation.seconds):
            request = _check(rule, sent)
            async with admit(rule, _metadata(context), request) as principal:
                return await answer(principal, request)

    return handler


def _streaming(rule: Rule, implementation: Implementation, admit: Admit) -> Any:
    answer: Any = implementation.answer

    async def handler(sent: Message | DecodeError, context: Any) -> Any:
        async with _border(rule, context), asyncio.timeout(implementation.seconds):
            request = _check(rule, sent)
            async with (
                admit(rule, _metadata(context), request) as principal,
                aclosing(answer(principal, request)) as replies,
            ):
                async for reply in replies:
                    yield reply

    return handler


class Stub:
    """Calls a service's methods by name over a channel. Raises what the server raised."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        descriptor: Any,
        peer: str,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._peer = peer
        self._metadata = metadata
        self._calls: dict[str, Any] = {}
        for method in descriptor.methods:
            reply = message_factory.GetMessageClass(method.output_type)
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            self._calls[method.name] = make(
                f"/{descriptor.full_name}/{method.name}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=reply.FromString,
            )

    async def unary(self, method: str, request: Message, timeout: float) -> Any:
        """One reply."""
        import grpc

        try:
            return await self._calls[method](request, timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as fault:
            raise status.error_of(fault, self._peer) from None

    async def stream(
        self, method: str, request: Message, timeout: float | None
    ) -> AsyncGenerator[Any, None]:
        """A stream of replies. Closing the iterator cancels the call."""
        import grpc

        call = self._calls[method](request, timeout=timeout, metadata=self._metadata)
        try:
            async for reply in call:
                yield reply
        except grpc.aio.AioRpcError as fault:
            raise status.error_of(fault, self._peer) from None
        finally:
            call.cancel()
