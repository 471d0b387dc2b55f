"""What an exception is to whoever asked for the work that raised it."""

from __future__ import annotations

import logging

from vaccel.errors import Exhausted, Internal, VaccelError

log = logging.getLogger(__name__)


def fault_of(fault: Exception, what: str) -> VaccelError:
    """The error to tell: its own where it is meant to be told, Exhausted where the host has no
    memory left. All else is a bug of ours, and is logged.
    """
    if isinstance(fault, VaccelError):
        return fault
    if isinstance(fault, MemoryError):
        return Exhausted(f"{what}: host has no memory left", hint="ask for less, or later")
    log.error("bug in %s", what, exc_info=fault)
    return Internal(f"{what}: {fault!r}")
