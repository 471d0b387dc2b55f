"""Compiling without a VF: ``python -m host_daemon.worker.offline REQUEST``, a process of its own.

It reads a model from stdin and writes to stdout one line of JSON, then as many bytes as the line
says. It lives in the sandbox of a VF's worker, which it enters before it looks at the model, and
ends with its one answer. REQUEST is a JSON object::

    {"card": NAME or path, "profile": NAME, "threads": 1, "want": ["vxp", "explain"],
     "arithmetic": "bf16",
     "shapes": {INPUT: [..]}, "symbols": {NAME: SIZE}, "values": {INPUT: nested lists}}

The answer is ``{"card": …, "explain": …, "vxp_bytes": N}``, or ``{"code": …, "message": …, "hint":
…}``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from host_daemon.compiler import frontend, vxp
from host_daemon.compiler.explain import Question, explain
from host_daemon.compiler.program import CompiledProgram, Target
from host_daemon.core.device import Card
from host_daemon.devices import registry
from host_daemon.worker import sandbox
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, InvalidModel, NotFound, VaccelError
from vaccel.model import Profile

_NOBODY: Final = 65534
_CHUNK: Final = 1 << 20


def answer(request: Mapping[str, Any], data: bytes, scratch: Path) -> tuple[dict[str, Any], bytes]:
    """What was asked of a model: the answer's line, and the bytes of a program file."""
    card, profile = find(str(request.get("card", "")), str(request.get("profile", "")))
    identity = vxp.Identity(card.kind, card.name, profile.name)
    threads = int(request.get("threads", 1))
    device = registry.model(card, profile)
    target = Target(device, threads, scratch, profile.memory_bytes, identity)
    want = set(request.get("want", ()))
    model = _checked(data, identity)
    arithmetic = str(request.get("arithmetic", ""))
    if not arithmetic and vxp.is_vxp(data):
        arithmetic = vxp.arithmetic(memoryview(data))
    program = CompiledProgram(model, target, arithmetic)
    found: dict[str, Any] = {"card": card.name, "profile": dataclasses.asdict(profile)}
    file = b""
    told: dict[str, Any] = {}
    if "explain" in want or "vxp" in want:
        try:
            told = explain(model, program, target, profile, _question(request))
        except InvalidArgument:
            if "explain" in want:
                raise  # a file can be written without it
    if "explain" in want:
        found["explain"] = told
    if "vxp" in want:
        plan: dict[str, Any] = {key: told[key] for key in ("inputs", "total") if key in told}
        file = b"".join(vxp.write(model, identity, plan, arithmetic))
    found["model"] = {
        "sha256": model.sha256,
        "nodes": model.nodes,
        "weight_bytes": model.weight_bytes,
    }
    return found | {"vxp_bytes": len(file)}, file


def find(card: str, profile: str) -> tuple[Card, Profile]:
    """A card of the catalogue, or from a file, that has the profile; without a name the first.

    Raises NotFound naming what there is.
    """
    if card:
        loaded = registry.load_card(Path(card) if "/" in card else registry.find_card(card))
        return loaded, registry.find_profile(loaded, profile)
    known: list[str] = []
    for name in registry.cards():
        loaded = registry.load_card(registry.find_card(name))
        for each in loaded.profiles:
            if each.name == profile:
                return loaded, each
            known.append(each.name)
    raise NotFound(
        f"no card of the catalogue has a profile {profile[: bounds.NAME_BYTES]!r}",
        hint="there are: " + ", ".join(known)[:400],
    )


def _checked(data: bytes, identity: vxp.Identity) -> frontend.CheckedModel:
    if not vxp.is_vxp(data):
        return frontend.read(data)
    with vxp.opened(memoryview(data), identity) as model:
        return model


def _question(request: Mapping[str, Any]) -> Question:
    try:
        return Question(
            {name: tuple(map(int, dims)) for name, dims in request.get("shapes", {}).items()},
            {name: int(size) for name, size in request.get("symbols", {}).items()},
            {name: np.asarray(value) for name, value in request.get("values", {}).items()},
        )
    except (TypeError, ValueError, AttributeError) as fault:
        raise InvalidArgument(f"shapes or values cannot be read: {fault}") from fault


def main() -> int:
    """The program."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    scratch: Path | None = None
    file = b""
    try:
        request = json.loads(sys.argv[1])
        # Libraries and cards first: the sandbox may hide where they are.
        _, profile = find(str(request.get("card", "")), str(request.get("profile", "")))
        private = os.geteuid() == 0
        sandbox.close_all_but([out])
        scratch = sandbox.enter(
            sandbox.Confinement(
                "compile",
                profile.memory_bytes,
                _NOBODY if private else None,
                None,
                "",
            )
        )
        line, file = answer(request, _read(), scratch)
    except VaccelError as error:
        line = _failure(error)
    except MemoryError:
        line = _failure(
            Exhausted("model takes more memory than the VF has", hint="take a larger profile")
        )
    finally:
        if scratch is not None and scratch.name.startswith("vaccel-"):
            shutil.rmtree(scratch, ignore_errors=True)
    with os.fdopen(out, "wb") as stream:
        stream.write(json.dumps(line).encode() + b"\n")
        stream.write(file)
    return 0


def _failure(error: VaccelError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _read() -> bytes:
    """All of stdin, at most a model's bytes."""
    pieces: list[bytes] = []
    size = 0
    while piece := os.read(0, _CHUNK):
        size += len(piece)
        if size > bounds.MODEL_BYTES:
            raise InvalidModel(f"model of more than {bounds.MODEL_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


if __name__ == "__main__":
    sys.exit(main())
