"""Every RPC with any field values, from the descriptors: refused by class, never a bug."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vaccel
from tests.conformance import models
from tests.integration.daemon_host import PROFILE, DaemonHost
from vaccel import bounds, errors
from vaccel.inventory import VF
from vaccel.model import DType
from vaccel.rpc.address import CHANNEL_OPTIONS
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.status import TRAILER
from vaccel.v1 import types_pb2

# Longer than any of these calls may take, shorter than a hang.
SECONDS = 15.0
METHODS = {
    f"{service.name}.{method.name}": method
    for service in SERVICES.values()
    for method in service.methods
}
# Known things get past the first check; the rest is noise, empty, or huge.
WORDS = [
    *("", "x", "fuzzed", "victim", "default", "npu0", PROFILE, "matmul", "a", "y", "debian"),
    *(dtype.value for dtype in DType),
    *("../../etc/passwd", "\0", "a\nb\tc", "\u202e\U0001f600", "x" * 70_000),
]
NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    16,
    64,
    1 << 20,
    1 << 31,
    (1 << 32) - 1,
    1 << 62,
    (1 << 63),
    (1 << 64) - 1,
]
BLOBS = [b"", b"\0", b"abcd", bytes(48), b"\xff" * 1000, models.build("affine"), bytes(1 << 20)]


@dataclass(frozen=True)
class Target:
    """A daemon, and a VF that no generated order names, whose context generated calls name."""

    host: DaemonHost
    vf: VF
    context: str
    channel: grpc.Channel


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with DaemonHost() as host, host.vf("steady") as vf, vaccel.open(address=vf.socket) as device:
        host.create("victim")
        device.load(models.build("affine"))
        device.buffer(64)
        address = f"unix:{host.control}"
        with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            yield Target(host, vf, device._session.context, channel)


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return st.sampled_from(BLOBS) | st.binary(max_size=64)
        case FieldDescriptor.CPPTYPE_STRING if field.name == "context":
            return st.sampled_from(["CONTEXT"] * 9 + [""]) | st.sampled_from(["CONTEXT", *WORDS])
        case FieldDescriptor.CPPTYPE_STRING if field.name == "vf":
            return st.sampled_from(["victim", *WORDS])
        case FieldDescriptor.CPPTYPE_STRING:
            return st.sampled_from(WORDS) | st.text(max_size=20)
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_UINT32:
            return st.sampled_from([n for n in NUMBERS if n < 1 << 32])
        case FieldDescriptor.CPPTYPE_UINT64:
            return st.sampled_from(NUMBERS) | st.integers(0, 5)
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return st.floats() | st.sampled_from([0.0, -1.0, 1e300])
    raise AssertionError(f"no strategy for {field.full_name}")


def is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    one = messages(field.message_type, depth - 1) if field.message_type else scalars(field)
    return st.lists(one, max_size=3) if field.is_repeated else one


@st.composite
def messages(draw: st.DrawFn, descriptor: Any, depth: int = 6) -> Message:
    """A message with any subset of its fields set."""
    made = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if depth <= 0 or not draw(st.integers(0, 3)):
            continue
        if is_map(field):
            names = draw(st.lists(st.sampled_from(["x", "a", "b", "", "z" * 300]), max_size=2))
            inner = field.message_type.fields_by_name["value"]
            for name in names:
                value = draw(values(inner, depth - 1))
                if inner.message_type:
                    getattr(made, field.name)[name].CopyFrom(value)
                else:
                    getattr(made, field.name)[name] = value
            continue
        value = draw(values(field, depth))
        if field.is_repeated:
            getattr(made, field.name).extend(value)
        elif field.message_type:
            getattr(made, field.name).CopyFrom(value)
        else:
            setattr(made, field.name, value)
    return made


def call(target: Target, method: MethodDescriptor, data: bytes) -> errors.VaccelError | None:
    """Send bytes as a request; the error that came back, None where there was none."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if not method.server_streaming:
            target.channel.unary_unary(path)(data, timeout=SECONDS)
            return None
        stream = target.channel.unary_stream(path)(data, timeout=SECONDS)
        # The first answer decides: a context's stream goes on for as long as its client lives.
        next(iter(stream), None)
        stream.cancel()
    except grpc.RpcError as fault:
        return told(fault)
    return None


def told(fault: Any) -> errors.VaccelError:
    sent: Mapping[str, Any] = dict(fault.trailing_metadata() or ())
    assert TRAILER in sent, f"{fault.code()} without a class: {fault.details()}"
    message = types_pb2.Error.FromString(sent[TRAILER])
    error = errors.from_code(message.code, message.message, message.hint)
    assert message.code in errors.BY_CODE and not isinstance(error, errors.Internal), message
    assert "\n" not in str(error) and len(message.message.encode()) <= bounds.ERROR_BYTES
    return error


def healthy(target: Target) -> None:
    """Nothing was lost, and the steady VF has not noticed."""
    now = target.host.admin.vf(target.vf.id)
    assert (now.state, now.epoch, now.worker_pid) == (
        "attached",
        target.vf.epoch,
        target.vf.worker_pid,
    )
    assert "bug in" not in target.host.log


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("Enrol.")])
def test_any_request_gets_an_answer_of_ours(target: Target, name: str) -> None:
    method = METHODS[name]

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(method.input_type))
    def check(request: Message) -> None:
        if getattr(request, "context", "") == "CONTEXT" and method.name != "CloseContext":
            request.context = target.context  # type: ignore[attr-defined]
        if len(data := request.SerializeToString()) < bounds.MESSAGE_BYTES:
            call(target, method, data)

    check()
    healthy(target)


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("Enrol.")])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28"])
def test_what_is_no_message_is_refused(target: Target, name: str, data: bytes) -> None:
    error = call(target, METHODS[name], data)
    # A field that is unknown, or of another type, is passed over as protobuf demands.
    assert error is None or error.hint
    healthy(target)
