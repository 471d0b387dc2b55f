"""What becomes of a program's devices in a child that it forks: they stay the parent's.

A window is lent to one process: whoever takes it back knows nothing of a child, which would go on
writing to wherever the next VF is mapped. And gRPC does not survive a fork: a call of the child's
hangs, or goes out on the parent's connection. So the child lets go of every window before it runs
anything else, keeps channels and never touches them, and is told what is wrong when it uses a
device.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Final, Protocol

from vaccel.errors import WrongState


class Follower(Protocol):
    """Has something that a forked child must not keep."""

    def forked(self) -> None:
        """Called in the child, which has one thread and does nothing else yet.

        Locks are to be made anew and not taken: the thread that holds one may not have come along.
        """


_followers: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_channels: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
# What a child keeps and does not use: to free a call would be to cancel the parent's.
_kept: Final[list[Any]] = []
_watching = False


def follow(one: Follower) -> None:
    """Have ``one.forked()`` called in every child from now on, as long as it lives."""
    _watch()
    _followers.add(one)


def hold(channel: object) -> None:
    """A channel, or what has calls of one: while it lives, no child can use the SDK."""
    _watch()
    _channels.add(channel)


def is_child() -> bool:
    """Whether this process was forked while a channel was there, and so cannot use the SDK."""
    return bool(_kept)


def error() -> WrongState:
    """What a child gets that uses a device of its parent's, or opens one of its own."""
    return WrongState(
        "a device was opened before this process was forked, and does not survive that",
        hint="start the process by multiprocessing's spawn or forkserver, or open devices only"
        " after the fork",
    )


def check() -> None:
    """Raise WrongState where this process cannot use the SDK."""
    if _kept:
        raise error()


def _watch() -> None:
    global _watching
    if not _watching:
        _watching = True
        os.register_at_fork(after_in_child=_begin)


def _begin() -> None:
    _kept.extend(_channels)
    faults: list[Exception] = []
    for one in list(_followers):
        try:
            one.forked()
        except Exception as fault:  # the others have windows to let go of, whatever this one has
            faults.append(fault)
    if faults:
        raise ExceptionGroup("after a fork", faults)
