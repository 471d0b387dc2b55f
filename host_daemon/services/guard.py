"""Admission.

Every call is authenticated, checked against its rule, counted and audited before it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from vaccel import bounds
from vaccel.errors import Exhausted, PermissionDenied, VaccelError
from vaccel.rpc.rules import Rule
from vaccel.rpc.service import Metadata

# What each role may also do: an operator can use any VF, for a look or a test.
_INCLUDES: Final = {
    "admin": ("admin", "tenant", "anyone"),
    "tenant": ("tenant", "anyone"),
    "anyone": ("anyone",),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. ``vf`` is the one VF that it may use, "" for all (admin) or none (anyone)."""

    name: str
    role: str
    vf: str = ""
    epoch: int = 0


# Who shows such metadata; raises Unauthenticated.
Authenticate = Callable[[Metadata], Principal]
# (principal, rule, object, code) to a line of the audit log.
Record = Callable[[Principal, Rule, str, str], None]


class Guard:
    """The admission of one endpoint. ``admit`` is a ``vaccel.rpc.service.Admit``."""

    def __init__(self, authenticate: Authenticate, record: Record) -> None:
        self._authenticate = authenticate
        self._record = record
        self._in_flight: Counter[str] = Counter()

    @asynccontextmanager
    async def admit(self, rule: Rule, metadata: Metadata, request: Any) -> AsyncIterator[Principal]:
        """Let a call in, or raise Unauthenticated, PermissionDenied or Exhausted."""
        principal = Principal("unknown", "anyone")
        subject = "" if rule.owner_field == "-" else str(getattr(request, rule.owner_field))
        code = "OK"
        try:
            if rule.role != "anyone":
                principal = self._authenticate(metadata)
            self._check_role(principal, rule)
            with _Counted(self._in_flight, principal, rule):
                yield principal
        except VaccelError as fault:
            code = fault.code
            raise
        except BaseException as fault:
            code = type(fault).__name__
            raise
        finally:
            if rule.audit:
                self._record(principal, rule, subject[: bounds.NAME_BYTES], code)

    @staticmethod
    def _check_role(principal: Principal, rule: Rule) -> None:
        if rule.role not in _INCLUDES[principal.role]:
            raise PermissionDenied(
                f"{rule.method} is for {rule.role}; {principal.name} is {principal.role}",
                hint="ask the operator of this host",
            )


class _Counted:
    """One call in flight of a principal; refused past its quota.

    Methods that make objects count apart, each for itself: a context's call lasts as long as the
    context, and must not use up what is there for the calls within it.
    """

    def __init__(self, in_flight: Counter[str], principal: Principal, rule: Rule) -> None:
        self._in_flight = in_flight
        what = f"{rule.method} calls" if rule.quota == "objects" else "calls"
        self._name = f"{principal.name} {what}" if rule.quota != "none" else ""
        if self._name and in_flight[self._name] >= bounds.CALLS_PER_PRINCIPAL:
            raise Exhausted(
                f"{principal.name} has {bounds.CALLS_PER_PRINCIPAL} {what} in flight",
                hint="wait for one of them to end",
            )

    def __enter__(self) -> None:
        if self._name:
            self._in_flight[self._name] += 1

    def __exit__(self, *_exc: object) -> None:
        if self._name:
            self._in_flight[self._name] -= 1
            if not self._in_flight[self._name]:
                del self._in_flight[self._name]
