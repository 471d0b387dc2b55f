"""Bytes between this terminal and a guest: a command's three streams, and the console."""

from __future__ import annotations

import codecs
import io
import stat
import sys
from collections.abc import Iterable
from os import fstat
from typing import TYPE_CHECKING, Any

from vaccel import bounds
from vaccel.cli.render import clean
from vaccel.errors import Exhausted, Unavailable

if TYPE_CHECKING:
    from vaccel.inventory import Output


def read_stdin() -> bytes:
    """What is piped into this process; nothing where stdin is a terminal or a device.

    Raises Exhausted where it is longer than a command's stdin may be.
    """
    if not _piped():
        return b""
    data = sys.stdin.buffer.read(bounds.EXEC_STDIN_BYTES + 1)
    if len(data) > bounds.EXEC_STDIN_BYTES:
        raise Exhausted(
            f"standard input is over {bounds.EXEC_STDIN_BYTES} bytes",
            hint="give the guest a folder instead: vaccelctl vm start --data DIR",
        )
    return data


def _piped() -> bool:
    try:
        mode = fstat(sys.stdin.fileno()).st_mode
    except io.UnsupportedOperation:
        return True  # an embedder's own stream has no descriptor, and ends
    except (AttributeError, OSError, ValueError):
        return False  # closed, or none at all
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def copy_output(items: Iterable[Output | int]) -> int:
    """Write what a command prints as it comes; returns its exit code as a shell counts it."""
    for item in items:
        if isinstance(item, int):
            return _shell_code(item)
        target = sys.stderr if item.stream == "stderr" else sys.stdout
        target.buffer.write(item.data)
        target.buffer.flush()
    raise Unavailable("the daemon ended the command's output without an exit code")


def collect(items: Iterable[Output | int]) -> dict[str, Any]:
    """The whole of it: ``stdout`` and ``stderr`` as text, and ``exit_code``."""
    parts = {"stdout": bytearray(), "stderr": bytearray()}
    for item in items:
        if isinstance(item, int):
            texts = {name: bytes(part).decode(errors="replace") for name, part in parts.items()}
            return {**texts, "exit_code": _shell_code(item)}
        parts["stderr" if item.stream == "stderr" else "stdout"] += item.data
    raise Unavailable("the daemon ended the command's output without an exit code")


def write_console(pieces: Iterable[bytes]) -> None:
    """Write a console. A terminal gets text only: a guest must not steer an operator's terminal."""
    if not sys.stdout.isatty():
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        sys.stdout.write(clean(decoder.decode(piece).replace("\r\n", "\n").replace("\r", "\n")))
        sys.stdout.flush()


def _shell_code(code: int) -> int:
    return code & 0xFF if code >= 0 else 128 + min(-code, 127)
