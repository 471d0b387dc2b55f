"""Every error that vaccel raises, classed by what the caller should do about it.

::

    VaccelError
    ├── InvalidArgument      mend the call: the message names the field and its value
    │   └── InvalidModel     mend the model file
    ├── NotFound             check the name; list what there is
    ├── WrongState           wait, or bring the object into the state that the message names
    ├── Exhausted            free something or ask for less; the message says what is left
    ├── PermissionDenied     use a credential that owns the object
    ├── Unauthenticated      enrol again
    ├── Unsupported          this device or version does not do that; the hint names what does
    ├── Unavailable          try again: the peer is away for the moment
    ├── TimedOut             wait longer; the work goes on
    ├── Cancelled            an earlier command of the same submission failed; see that one
    ├── DeviceLost           load programs and buffers again: the VF was reset
    ├── Detached             the VF was taken away; open another
    ├── HostFault            the operator mends the host: a missing program, file or permission
    └── Internal             a bug in vaccel; report it
"""

from __future__ import annotations

from typing import ClassVar


class VaccelError(Exception):
    """Base of all errors here.

    ``message`` is one line that names the thing and its value; ``hint`` the next step, or "".
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())

    @property
    def code(self) -> str:
        """The name that travels on the wire: the class's own."""
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidArgument(VaccelError):
    """Mend the call."""

    exit_code = 2


class InvalidModel(InvalidArgument):
    """Mend the model file."""


class NotFound(VaccelError):
    """Check the name."""

    exit_code = 3


class WrongState(VaccelError):
    """The object exists but is not in a state that allows this."""

    exit_code = 4


class Exhausted(VaccelError):
    """Free something or ask for less."""

    exit_code = 5


class PermissionDenied(VaccelError):
    """The caller does not own the object."""

    exit_code = 6


class Unauthenticated(VaccelError):
    """The credential is missing, forged or of another epoch."""

    exit_code = 6


class Unsupported(VaccelError):
    """The device or version at hand does not do that."""

    exit_code = 7


class Unavailable(VaccelError):
    """The peer is away for the moment; trying again is right."""

    exit_code = 8


class TimedOut(VaccelError):
    """The deadline passed; the work goes on."""

    exit_code = 8


class Cancelled(VaccelError):
    """An earlier command of the same submission failed."""


class DeviceLost(VaccelError):
    """The VF was reset: programs and device memory are gone."""

    exit_code = 9


class Detached(VaccelError):
    """The VF was taken away."""

    exit_code = 9


class HostFault(VaccelError):
    """The host lacks a program, a file or a permission; the operator mends it."""

    exit_code = 10


class Internal(VaccelError):
    """Always a bug in vaccel."""

    exit_code = 70


def _tree(cls: type[VaccelError]) -> list[type[VaccelError]]:
    return [cls] + [below for child in cls.__subclasses__() for below in _tree(child)]


BY_CODE: dict[str, type[VaccelError]] = {cls.__name__: cls for cls in _tree(VaccelError)}


def from_code(code: str, message: str, hint: str = "") -> VaccelError:
    """The error that a peer named. An unknown code is a peer newer than this side."""
    cls = BY_CODE.get(code)
    if cls is None:
        return Internal(f"{message} (unknown error code {code!r} from the peer)", hint=hint)
    return cls(message, hint=hint)
