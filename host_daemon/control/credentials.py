"""Enrolment and its proofs: one-time tokens, credentials, and who a caller therefore is.

The store keeps digests only. A token opens one enrolment in one epoch of one VF; a credential is
void as soon as its VF has another epoch.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from host_daemon.control.context import HostContext
from host_daemon.core.lifecycle import VfState
from host_daemon.core.records import CredentialRecord, TokenRecord
from host_daemon.core.store import Transaction
from vaccel import bounds
from vaccel.errors import Exhausted, NotFound, Unauthenticated

_TOKEN_BYTES: Final = 32


def digest(secret: bytes) -> bytes:
    """What the store keeps of a secret. The secrets are random, so one round is enough."""
    return hashlib.sha256(secret).digest()


class Credentials:
    """Issues and checks them.

    ``on_enrolled(vf, epoch)`` wipes the token from the window and wakes waiters.
    """

    def __init__(
        self, host: HostContext, on_enrolled: Callable[[str, int], Awaitable[None]]
    ) -> None:
        self._host = host
        self._on_enrolled = on_enrolled
        self._attempts: dict[str, deque[int]] = {}
        # Every call shows a credential: the store is asked about each one once.
        self._known: dict[bytes, CredentialRecord] = {}

    def issue_token(self, tx: Transaction, vf: str, epoch: int) -> bytes:
        """A token for a VF's new epoch; what was issued before is void."""
        token = self._host.random(_TOKEN_BYTES)
        tx.put_token(TokenRecord(vf, epoch, digest(token)))
        self.void(tx, vf)
        return token

    def void(self, tx: Transaction, vf: str) -> None:
        """Whatever credential a VF's agent has is good no more."""
        tx.delete_credential(vf)
        for known in [d for d, record in self._known.items() if record.vf == vf]:
            del self._known[known]

    def seen(self, vf: str, epoch: int) -> bool:
        """Whether the agent of a VF has shown its credential of this epoch to this daemon."""
        return any((r.vf, r.epoch) == (vf, epoch) for r in self._known.values())

    async def enrol(self, vf: str, epoch: int, token: bytes, _version: str) -> str:
        """The credential for a token. Raises Unauthenticated for any token but the right one."""
        self._throttle(vf)
        secret = self._host.random(_TOKEN_BYTES).hex()
        now = self._host.unix_ns()
        refusal = Unauthenticated(
            f"the token is not that of VF {vf[: bounds.NAME_BYTES]!r} in epoch {epoch}",
            hint="read the window's header again; a used token comes back with a new epoch only",
        )
        with self._host.store.transaction() as tx:
            try:
                record = tx.get_vf(vf)
            except NotFound:
                raise refusal from None
            attached = record.state in (VfState.ATTACHING, VfState.ATTACHED)
            if record.id != vf or record.epoch != epoch or not attached:
                raise refusal
            if not tx.use_token(vf, epoch, digest(token), now):
                raise refusal
            credential = f"{vf}.{epoch}.{secret}"
            tx.put_credential(CredentialRecord(vf, epoch, digest(credential.encode()), now))
            tx.put_vf(replace(record, enrolled=True))
        # Who has the token does not guess, however often its VF comes and goes.
        self._attempts.pop(vf, None)
        await self._on_enrolled(vf, epoch)
        return credential

    def check(self, credential: str) -> CredentialRecord:
        """The record behind a credential. Raises Unauthenticated."""
        sought = digest(credential.encode())
        if known := self._known.get(sought):
            return known
        with self._host.store.transaction() as tx:
            record = tx.find_credential(sought)
        if record is None or not hmac.compare_digest(record.sha256, sought):
            raise Unauthenticated(
                "the credential is not valid, or of an earlier epoch of its VF",
                hint="read the window's header again and enrol",
            )
        self._known[sought] = record
        return record

    def _throttle(self, vf: str) -> None:
        now = self._host.unix_ns()
        key = vf[: bounds.NAME_BYTES]
        if key not in self._attempts and len(self._attempts) >= bounds.VFS_PER_HOST:
            self._attempts.pop(next(iter(self._attempts)))
        recent = self._attempts.setdefault(key, deque(maxlen=bounds.ENROL_ATTEMPTS_PER_MINUTE))
        if len(recent) == recent.maxlen and now - recent[0] < 60_000_000_000:
            raise Exhausted(
                f"VF {key!r}: more than {bounds.ENROL_ATTEMPTS_PER_MINUTE} enrolments in a minute",
                hint="wait a minute",
            )
        recent.append(now)
