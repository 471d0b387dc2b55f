"""Admission: who may call what, how much at once, and that each refusal is audited."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from host_daemon.services.guard import Guard, Principal
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, PermissionDenied, Unauthenticated
from vaccel.rpc.rules import Rule
from vaccel.v1 import admin_pb2 as pb

WHO = {role: Principal(f"the {role}", role) for role in ("admin", "tenant", "anyone")}


def rule(role: str = "tenant", quota: str = "none", *, audit: bool = True) -> Rule:
    return Rule("Test/Do", role, "vf", quota, audit)


class Endpoint:
    """A guard whose callers are who the metadata says, and its audit log."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.guard = Guard(self._authenticate, self._record)

    def _authenticate(self, metadata: Any) -> Principal:
        if "who" not in metadata:
            raise Unauthenticated("no credential")
        return WHO[metadata["who"]]

    def _record(self, principal: Principal, rule: Rule, subject: str, code: str) -> None:
        self.lines.append((principal.name, subject, code))

    def admit(self, rule: Rule, who: str = "", vf: str = "vf-1") -> Any:
        return self.guard.admit(rule, {"who": who} if who else {}, pb.GetVFRequest(vf=vf))


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("admin", {"admin", "tenant", "anyone"}),
        ("tenant", {"tenant", "anyone"}),
        ("anyone", {"anyone"}),
    ],
)
async def test_roles_include_the_lower_ones(endpoint: Endpoint, role: str, may: set[str]) -> None:
    for wanted in WHO:
        if wanted in may:
            async with endpoint.admit(rule(wanted), role) as who:
                assert who == (WHO[role] if wanted != "anyone" else Principal("unknown", "anyone"))
        else:
            with pytest.raises(PermissionDenied, match=f"is for {wanted}") as caught:
                async with endpoint.admit(rule(wanted), role):
                    raise AssertionError("it was let in")
            assert caught.value.hint


async def test_what_needs_no_role_needs_no_credential(endpoint: Endpoint) -> None:
    async with endpoint.admit(rule("anyone")) as who:
        assert who.role == "anyone" and not who.vf
    with pytest.raises(Unauthenticated):
        async with endpoint.admit(rule("tenant")):
            raise AssertionError("it was let in")


async def test_each_outcome_is_audited_once(endpoint: Endpoint) -> None:
    async with endpoint.admit(rule(), "tenant", "x" * 10_000):
        pass
    for fault in (InvalidArgument("x"), ValueError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(fault)):
            async with endpoint.admit(rule(), "tenant"):
                raise fault
    with pytest.raises(Unauthenticated):
        async with endpoint.admit(rule()):
            raise AssertionError("it was let in")
    async with endpoint.admit(rule(audit=False), "tenant"):
        pass
    assert endpoint.lines == [
        ("the tenant", "x" * bounds.NAME_BYTES, "OK"),
        ("the tenant", "vf-1", "InvalidArgument"),
        ("the tenant", "vf-1", "ValueError"),
        ("the tenant", "vf-1", "KeyboardInterrupt"),
        ("unknown", "vf-1", "Unauthenticated"),
    ]


async def test_calls_in_flight_are_bounded_for_each(endpoint: Endpoint) -> None:
    requests = rule(quota="requests")
    async with AsyncExitStack() as stack:
        for _ in range(bounds.CALLS_PER_PRINCIPAL):
            await stack.enter_async_context(endpoint.admit(requests, "tenant"))
        with pytest.raises(Exhausted, match=str(bounds.CALLS_PER_PRINCIPAL)) as caught:
            await stack.enter_async_context(endpoint.admit(requests, "tenant"))
        assert caught.value.hint
        for other in (rule(quota="none"), rule(quota="objects")):
            await stack.enter_async_context(endpoint.admit(other, "tenant"))
        await stack.enter_async_context(endpoint.admit(requests, "admin"))
    async with endpoint.admit(requests, "tenant"):
        pass
    assert not endpoint.guard._in_flight
