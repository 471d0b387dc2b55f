"""The compiler as a program: a model is parsed in a confined process of its own, never here.

It needs what a host has installed (``vaccel[host]``), and neither a daemon nor a VF.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, InvalidModel, TimedOut, from_code

PROGRAM = "host_daemon.worker.offline"


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile for, and what is asked of it.

    ``card`` "" is the first of the catalogue that has the profile. ``shapes`` and ``values`` are by
    input, ``symbols`` sizes by the name of a dimension. ``arithmetic`` is as in ``Device.load``.
    """

    profile: str
    card: str = ""
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    arithmetic: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """``explanation`` is {} and ``file`` b"" where they were not asked for."""

    card: str
    model: Mapping[str, Any]
    explanation: Mapping[str, Any]
    file: bytes


def compile_model(path: Path, request: Request, *, file: bool, explain: bool) -> Answer:
    """Compile the model at ``path``. Raises what the compiler says of it; HostFault without one."""
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
        "want": want,
    }
    line, data = _ask(json.dumps(fields), _read(path))
    if "code" in line:
        raise from_code(line["code"], line["message"], line["hint"])
    if len(data) != line["vxp_bytes"]:
        raise HostFault(f"the compiler ended after {len(data)} of {line['vxp_bytes']} bytes")
    return Answer(line["card"], line["model"], line.get("explain", {}), data)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise InvalidArgument(
            f"model {str(path)!r}: {fault.strerror}", hint="give the path of an ONNX file"
        ) from None
    if not data:
        raise InvalidModel(f"model {str(path)!r} is empty", hint="export it again")
    return data


def _ask(request: str, data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", PROGRAM, request],
            input=data,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            timeout=bounds.COMPUTE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise TimedOut(f"the compiler did not end within {late.timeout:.0f} s") from late
    text, _, rest = done.stdout.partition(b"\n")
    try:
        line = json.loads(text)
    except ValueError:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise HostFault(
            f"the compiler ended with status {done.returncode}: {last[:200]}",
            hint="a model that ends the compiler ends a VF's worker too: report it",
        ) from None
    return line, rest
