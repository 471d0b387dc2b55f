"""The compiler as a program: a model is parsed in a confined process of its own, never here.

It needs what a host has installed (``vaccel[host]``), and neither a daemon nor a VF.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vaccel import bounds
from vaccel.errors import HostFault, TimedOut, from_code
from vaccel.uploads import ModelSource, Upload

PROGRAM = "host_daemon.worker.offline"


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile for, and what is asked of it.

    ``card`` "" is the first of the catalogue that has the profile. ``shapes`` and ``values`` are by
    input, ``symbols`` sizes by the name of a dimension. ``arithmetic`` and
    ``max_error``, 0 for no demand, are as in ``Device.load``.
    """

    profile: str
    card: str = ""
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    arithmetic: str = ""
    max_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """``explanation`` is {} and ``file`` b"" where they were not asked for, or went elsewhere."""

    card: str
    model: Mapping[str, Any]
    explanation: Mapping[str, Any]
    file_bytes: int
    file: bytes


def compile_model(
    path: Path, request: Request, *, file: bool, explain: bool, to: BinaryIO | None = None
) -> Answer:
    """Compile the model at ``path``, external data beside it included.

    A program file goes ``to`` a stream where there is one. Raises what the compiler says of the
    model; HostFault without a compiler.
    """
    if importlib.util.find_spec("host_daemon") is None:
        raise HostFault(
            "the compiler is not installed here", hint="install vaccel[host], or load the model"
        )
    want = [name for name, asked in (("vxp", file), ("explain", explain)) if asked]
    fields = {
        "card": request.card,
        "profile": request.profile,
        "shapes": {name: list(dims) for name, dims in request.shapes.items()},
        "symbols": dict(request.symbols),
        "values": dict(request.values),
        "arithmetic": request.arithmetic,
        "max_error": request.max_error,
        "want": want,
    }
    kept = to or io.BytesIO()
    begun = kept.tell()
    with ModelSource(path).opened() as upload:
        line = _ask(fields | {"parts": upload.sizes}, upload, kept)
    if "code" in line:
        raise from_code(line["code"], line["message"], line["hint"])
    written = kept.tell() - begun
    if written != line["vxp_bytes"]:
        raise HostFault(f"the compiler ended after {written} of {line['vxp_bytes']} bytes")
    data = kept.getvalue() if isinstance(kept, io.BytesIO) and to is None else b""
    return Answer(line["card"], line["model"], line.get("explain", {}), written, data)


def _ask(request: Mapping[str, Any], upload: Upload, to: BinaryIO) -> dict[str, Any]:
    """The compiler's line; what follows it goes ``to`` a stream."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [sys.executable, "-m", PROGRAM, json.dumps(request)],
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        late = threading.Timer(bounds.COMPUTE_SECONDS, process.kill)
        late.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # it answers before it has read all
                for chunk in upload.chunks():
                    process.stdin.write(upload.read(*chunk))
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            text = process.stdout.readline()
            shutil.copyfileobj(process.stdout, to, bounds.CHUNK_BYTES)
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            ended = late.finished.is_set() and process.returncode == -signal.SIGKILL
            late.cancel()
        if ended:
            raise TimedOut(f"the compiler did not end within {bounds.COMPUTE_SECONDS:.0f} s")
        try:
            line: dict[str, Any] = json.loads(text)
        except ValueError:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise HostFault(
                f"the compiler ended with status {process.returncode}: {lines[-1][:200]}",
                hint="a model that ends the compiler ends a VF's worker too: report it",
            ) from None
        return line
