"""A queue pair as an app sees it. Safe for threads; blocks only where a method says so.

Descriptors go in under a lock and are told to the worker by a doorbell. Whoever looks at the
completion ring hands out all that is there, to whomever it belongs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from vaccel import bounds, forks
from vaccel.aperture import layout, ring
from vaccel.aperture.descriptors import DESCRIPTOR, Completion, Op, decode
from vaccel.aperture.doorbell import Doorbell
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import Detached, DeviceLost, TimedOut, VaccelError, WrongState
from vaccel.fastpath.pace import next_look
from vaccel.fastpath.pieces import Pieces

_NOP: Final = int(Op.NOP)
# Looks at a shared word between two looks at the clock.
_LOOKS: Final = 64
_FIRST_LOOKS: Final = range(_LOOKS)
# Errors of commands that nobody has asked about yet: the oldest go first.
_FAULTS_KEPT: Final = 4096

_BROKEN_HINT: Final = "submit again: it is lent anew; recordings are gone, buffers are not"

Callback = Callable[[Completion], None]
_pack = DESCRIPTOR.pack
_pack_into = DESCRIPTOR.pack_into


class AppQueue:
    """``dead`` says why it can no longer be used; ``closed``, whether its window is gone too."""

    def __init__(self, window: Window, doorbell: Doorbell, lease: Lease) -> None:
        self.window, self.lease = window, lease
        self.dead: VaccelError | None = None
        self.closed = False
        self._bell = doorbell
        self._ring_bell = doorbell.ring
        self._lock = threading.RLock()
        self._pieces = Pieces(lease.slab_offset, lease.slab_bytes)
        self._words = window.words
        self._epoch = window.words[layout.EPOCH_FIELD.word]
        base = layout.queue_offset(lease.queue) // layout.WORD
        self._fences = base + layout.FENCES.word
        self._cq_tail = base + layout.CQ_TAIL.word
        self._state = base + layout.QUEUE_STATE.word
        self._polls = base + layout.POLLS.word
        self._seen = 0
        # Whether the last submission went without a ring, as the worker said that it may.
        self._silent = False
        self._poster = ring.Producer(window.bytes, window.words, ring.submission(lease.queue))
        self._taker = ring.Consumer(window.bytes, window.words, ring.completion(lease.queue))
        self._put_one = self._poster.put_one
        self._tags = 0
        self._pending: dict[int, Callback] = {}
        self.faults: dict[tuple[int, int], VaccelError] = {}
        forks.follow(self)

    @property
    def outstanding(self) -> int:
        """Descriptors whose completion somebody waits for."""
        return len(self._pending)

    # --- submitting -------------------------------------------------------------------------

    def nop(self, stream: int, fence: int) -> None:
        """A null command. Raises Exhausted where the ring is full."""
        with self._lock:
            if self.dead is not None:
                raise self.dead
            try:
                self._put_one(_pack_into, _NOP, 0, 0, stream, fence, 0, 0, 0, 0)
            except WrongState as fault:
                raise self._blame(fault) from None
        if self._words[self._polls]:  # as ``_ring``
            self._silent = True
        else:
            self._ring_bell()

    def nops(self, stream: int, first_fence: int, count: int) -> None:
        """Null commands, one descriptor each, in one doorbell. Raises Exhausted as ``nop``."""
        fences = range(first_fence, first_fence + count)
        entries = b"".join([_pack(_NOP, 0, 0, stream, n, 0, 0, 0, 0) for n in fences])
        self._put(entries)

    def replay(self, recording: int, stream: int, fence: int) -> None:
        """Run a recording, as (stream, fence) on. Raises Exhausted as ``nop``."""
        self._put(_pack(int(Op.REPLAY), 0, 0, stream, fence, recording, 0, 0, 0))

    def post(self, op: Op, operands: tuple[int, int, int, int], done: Callback) -> None:
        """One descriptor; ``done`` hears of its completion, in whatever thread finds it.

        Raises Exhausted where the ring is full, and why the queue is dead.
        """
        with self._lock:
            if self.dead is not None:
                raise self.dead
            tag = self._tags = self._tags + 1
            try:
                self._put_one(_pack_into, int(op), 0, tag, 0, 0, *operands)
            except WrongState as fault:
                raise self._blame(fault) from None
            self._pending[tag] = done
        self._ring()

    def _ring(self) -> None:
        """Unless the worker looks by itself. The lock's release keeps this behind the tail."""
        if self._words[self._polls]:
            self._silent = True
        else:
            self._ring_bell()

    def _put(self, entries: bytes) -> None:
        with self._lock:
            if self.dead is not None:
                raise self.dead
            try:
                self._poster.put(entries)
            except WrongState as fault:
                raise self._blame(fault) from None
        self._ring()

    # --- completions ------------------------------------------------------------------------

    def reap(self) -> bool:
        """Hand out the completions that are there; whether there were any."""
        with self._lock:
            if self.dead is not None:
                return False
            # Before the completions: those that explain it were posted before it was written.
            state = self._words[self._state]
            try:
                raw = self._taker.take(layout.CQ_ENTRIES)
            except WrongState as fault:
                self._blame(fault)
                return True
            if not raw:
                if state:
                    self._end(state)
                return bool(state)
            self._seen += len(raw) // layout.CQ_ENTRY
            told = [
                self._sort(decode(raw[at : at + layout.CQ_ENTRY]))
                for at in range(0, len(raw), layout.CQ_ENTRY)
            ]
            held_back = not self._poster.idle
        if held_back:  # the worker takes no descriptor that it has no room to answer
            self._ring_bell()
        for callback, completion in told:
            if callback is not None:
                callback(completion)
        lost = [one.error for _, one in told if isinstance(one.error, DeviceLost)]
        if lost:
            self.die(lost[0])
        return True

    def _blame(self, fault: WrongState) -> VaccelError:
        """An index jumped; why the queue is dead now. Where the header is another one too, so is
        the window.
        """
        if self._replaced:  # the function was pulled by force, and another came to its address
            gone = Detached("the VF was taken away", hint="open another device")
            self.die(gone, revoke=True)
            return gone
        broken = WrongState(fault.message, hint=_BROKEN_HINT)
        self.die(broken)
        return broken

    @property
    def _replaced(self) -> bool:
        """Whether the header is of another window. A reset has a new epoch too, and says so."""
        if self._words[layout.EPOCH_FIELD.word] == self._epoch:
            return False
        return bool(self._words[self._state] != layout.LOST)

    def _end(self, state: int) -> None:
        """The worker says that it serves this queue pair no more."""
        if state == layout.LOST:
            self.die(DeviceLost("the VF was reset", hint="submit again; buffers are gone"))
        else:
            self.die(WrongState("the queue pair is broken", hint=_BROKEN_HINT))

    def _sort(self, completion: Completion) -> tuple[Callback | None, Completion]:
        callback = self._pending.pop(completion.tag, None)
        if callback is None and completion.error is not None:
            self.faults[completion.stream, completion.fence] = completion.error
            while len(self.faults) > _FAULTS_KEPT:
                del self.faults[next(iter(self.faults))]
        return callback, completion

    def fence(self, stream: int) -> int:
        """The fence that a stream has reached."""
        return int(self._words[self._fences + stream])

    def wait_fence(self, stream: int, fence: int, timeout: float) -> None:
        """Until a stream has reached a fence; blocking. Errors up to it are in ``faults`` then.

        Raises TimedOut, why the queue is dead, or why the command was refused.
        """
        words, word = self._words, self._fences + stream
        for _ in _FIRST_LOOKS:
            if words[word] >= fence:
                break
        else:
            what = f"fence {fence} of stream {stream}"
            self._patiently(lambda: self._passed(word, stream, fence), timeout, what)
        if words[self._cq_tail] != self._seen:
            self.reap()
        if self.dead is not None:
            raise self.dead

    def fence_settled(self, stream: int, fence: int) -> bool:
        """Whether ``wait_fence`` would return, or raise, at once."""
        try:
            passed = self._passed(self._fences + stream, stream, fence)
            return passed or self.dead is not None
        except VaccelError:
            return True

    def _passed(self, word: int, stream: int, fence: int) -> bool:
        if self._words[word] >= fence:
            return True
        if self._words[self._cq_tail] != self._seen or self._words[self._state]:
            self.reap()
            reached = self._words[word]
            for (number, at), refused in list(self.faults.items()):
                # An error at a fence that is not reached: the submission was never accepted.
                if number == stream and reached < at <= fence:
                    raise refused
        return False

    def call(
        self, op: Op, operands: tuple[int, int, int, int], timeout: float = bounds.WAIT_SECONDS
    ) -> Completion:
        """Post one descriptor and wait for its completion; blocking. Raises its error."""
        found: list[Completion] = []
        self.post(op, operands, found.append)
        self.await_done(lambda: bool(found), timeout, op.name)
        if found[0].error is not None:
            raise found[0].error
        return found[0]

    def await_done(
        self, done: Callable[[], bool], timeout: float, what: str, quiet: float = 0.0
    ) -> None:
        """Hand out completions until ``done()``; blocking. Raises TimedOut, or why it is dead.

        For ``quiet`` seconds nothing is expected: it looks seldom until then.
        """

        def looked() -> bool:
            # Only a tail that moved is worth the lock.
            if self._words[self._cq_tail] != self._seen:
                self.reap()
            return done()

        self._patiently(looked, timeout, what, quiet)

    def _patiently(
        self, done: Callable[[], bool], timeout: float, what: str, quiet: float = 0.0
    ) -> None:
        start = time.monotonic()
        quiet_end = start + quiet
        # Who knows that nothing comes so soon need not spin for it.
        spins = quiet < bounds.SPIN_SECONDS
        spin_end = start + bounds.SPIN_SECONDS if spins else start
        end = start + timeout
        looks = _LOOKS if spins else 1
        while True:
            for _ in range(looks):
                if done():
                    return
            if self._words[self._state]:
                self.reap()
            if self.dead is not None:
                raise self.dead
            now = time.monotonic()
            if now >= end:
                raise TimedOut(
                    f"{what} took more than {timeout:g} s",
                    hint="wait again; the work goes on",
                )
            if now >= spin_end:
                looks = 1
                if self._silent:  # whoever said that it looks may have been killed since
                    self._silent = False
                    self._ring_bell()
                time.sleep(next_look(now - start, min(quiet_end, end) - now if quiet else None))

    # --- the slab ---------------------------------------------------------------------------

    def allocate(self, size: int, alignment: int = bounds.SLAB_ALIGNMENT) -> int:
        """Offset in the window of a piece of the slab. Raises Exhausted."""
        return self._pieces.allocate(size, alignment)

    def free(self, offset: int) -> None:
        """Give a piece back. May be called by the collector, in any thread, at any point."""
        self._pieces.free(offset)

    def lend(self, offset: int, size: int) -> bool:
        """Let a piece be a result's from now on; whether there is room for that."""
        return self._pieces.lend(offset, size)

    # --- the end ----------------------------------------------------------------------------

    def die(self, reason: VaccelError, *, revoke: bool = False) -> None:
        """Every call from now on, and every one that waits, gets the reason.

        With ``revoke``, also one that is dead already: arrays reach the device no more. They keep
        what is in them, unless the function was pulled already, and what shows is not theirs.
        """
        with self._lock:
            if self.dead is not None and not revoke:
                return
            if revoke:  # before anybody hears of it, and looks at what is left
                self._ring_bell = _silent
                self._bell.revoke()
                self.window.revoke(keep=self._kept)
            self.dead = reason
            pending, self._pending = self._pending, {}
        for tag, callback in pending.items():
            callback(Completion(0, tag, error=reason))

    @property
    def _kept(self) -> tuple[tuple[int, int], ...]:
        """What is the app's own in the slab."""
        return () if self._replaced else self._pieces.held

    def forked(self) -> None:
        """See ``forks.Follower``: arrays keep what is in them, and reach no device."""
        self._lock = threading.RLock()
        self._pieces.forked()
        self.dead, self._pending = forks.error(), {}
        self._ring_bell = _silent
        self._bell.close()
        try:
            kept = self._kept
        except ValueError:  # a thread that has stayed behind was closing it
            kept = self._pieces.held
        self.window.disown(kept)

    def successor(self, lease: Lease, bell: Doorbell | None = None) -> AppQueue:
        """The queue pair that takes the place of this one, which is dead, in the same mapping.

        The slab is the same; pieces of it that are held stay where they are. ``bell`` is the new
        queue pair's; without one the doorbell stays.
        """
        assert self.has_slab(lease)
        fresh = AppQueue(self.window, bell or self._bell, lease)
        self._ring_bell = _silent
        if bell is not None:
            self._bell.close()
        fresh._pieces = self._pieces
        return fresh

    def has_slab(self, lease: Lease) -> bool:
        """Whether the slab of a lease is this one."""
        mine = self.lease
        return (lease.slab_offset, lease.slab_bytes) == (mine.slab_offset, mine.slab_bytes)

    def restore(self, window: int, lease: Lease, bell: Doorbell) -> AppQueue:
        """As ``successor``, after a revocation: arrays lie in the window again, as they are now.

        ``window`` is a descriptor that was lent, and stays the caller's.
        """
        with self._lock:
            self.window.restore(window, self._pieces.held)
            return self.successor(lease, bell)

    def close(self) -> None:
        """Let go of the window. What arrays still show of it becomes memory of the app's own."""
        if self.closed:
            return
        self.die(WrongState("the device was closed", hint="open it again"))
        self.closed = True
        self._bell.close()
        self._ring_bell = _silent
        # Not unmapped: other threads may be at it, and are told by ``dead`` what has become of it.
        self.window.revoke(keep=self._kept)


def _silent() -> None:
    return
