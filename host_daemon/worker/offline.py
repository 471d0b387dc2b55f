"""Compiling without a VF: ``python -m host_daemon.worker.offline REQUEST``, a process of its own.

It reads a model from stdin, its external data behind it as ``parts`` says, and writes to stdout
one line of JSON, then as many bytes as the line says. It lives in the sandbox of a VF's worker,
which it enters before it looks at the model, and ends with its one answer. REQUEST is a JSON
object::

    {"card": NAME or path, "profile": NAME, "threads": 1, "want": ["vxp", "explain"],
     "arithmetic": "bf16", "max_error": 0.1,
     "parts": [["", BYTES], [LOCATION, BYTES], …],
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
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from host_daemon.compiler import frontend, vxp
from host_daemon.compiler.explain import Question, explain
from host_daemon.compiler.external import Blobs
from host_daemon.compiler.program import CompiledProgram, Target
from host_daemon.core.device import Card
from host_daemon.devices import registry
from host_daemon.worker import sandbox
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, InvalidModel, NotFound, VaccelError
from vaccel.model import Profile

_NOBODY: Final = 65534
_CHUNK: Final = 1 << 20
Pieces = tuple[bytes | memoryview, ...]


def answer(
    request: Mapping[str, Any],
    data: bytes | memoryview,
    scratch: Path,
    blobs: Blobs = MappingProxyType({}),
) -> tuple[dict[str, Any], Pieces]:
    """What was asked of a model: the answer's line, and a program file in pieces."""
    card, profile = find(str(request.get("card", "")), str(request.get("profile", "")))
    identity = vxp.Identity(card.kind, card.name, profile.name)
    threads = int(request.get("threads", 1))
    device = registry.model(card, profile)
    target = Target(device, threads, scratch, profile.memory_bytes, identity)
    want = set(request.get("want", ()))
    model = _checked(memoryview(data), identity, blobs)
    arithmetic = str(request.get("arithmetic", ""))
    max_error = float(request.get("max_error", 0.0))
    if vxp.is_vxp(data):
        arithmetic, max_error = vxp.asked(memoryview(data), arithmetic, max_error)
    program = CompiledProgram(model, target, arithmetic, max_error)
    found: dict[str, Any] = {"card": card.name, "profile": dataclasses.asdict(profile)}
    file: Pieces = ()
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
        file = tuple(vxp.write(model, identity, plan, arithmetic, max_error))
    found["model"] = {
        "sha256": model.sha256,
        "nodes": model.nodes,
        "weight_bytes": model.weight_bytes,
    }
    return found | {"vxp_bytes": sum(map(len, file))}, file


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


def _checked(data: memoryview, identity: vxp.Identity, blobs: Blobs) -> frontend.CheckedModel:
    own = not data.readonly
    if not vxp.is_vxp(data):
        return frontend.read(data, blobs=blobs, own=own)
    with vxp.opened(data, identity, own) as model:
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
    file: Pieces = ()
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
        model, blobs = _read(request, profile)
        line, file = answer(request, model, scratch, blobs)
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
        for piece in file:
            stream.write(piece)
    return 0


def _failure(error: VaccelError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _read(
    request: Mapping[str, Any], profile: Profile
) -> tuple[memoryview, dict[str, memoryview]]:
    """The model and its data from stdin. Raises Exhausted past the VF's memory, InvalidModel."""
    try:
        parts = [(str(name), int(size)) for name, size in request["parts"]]
    except (KeyError, TypeError, ValueError) as fault:
        raise InvalidArgument(f"parts cannot be read: {fault!r}") from fault
    total = sum(size for _, size in parts)
    if total > profile.memory_bytes or any(size < 0 for _, size in parts) or not parts:
        raise Exhausted(
            f"model needs {total} bytes of device memory: {profile.name} has"
            f" {profile.memory_bytes}",
            hint="take a larger profile",
        )
    found: list[memoryview] = []
    for name, size in parts:
        data = np.zeros(size, np.uint8).data
        at = 0
        while at < size and (count := os.readv(0, [data[at : at + _CHUNK]])):
            at += count
        if at != size:
            raise InvalidModel(f"model ends after {at} bytes of {size} of {name[:80]!r}")
        found.append(data)
    return found[0], {name: data for (name, _), data in zip(parts[1:], found[1:], strict=True)}


if __name__ == "__main__":
    sys.exit(main())
