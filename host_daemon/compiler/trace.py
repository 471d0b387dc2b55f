"""Which nodes a launch executes, with their real shapes: a run under ONNX Runtime's profiler.

The graph runs as it is written (no optimisation), so that what is counted is the model and not what
one version of ORT makes of it. The profile names each executed node, also in the branch that an
``If`` took and in every turn of a loop, with types and shapes of the tensors it really had.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from host_daemon.compiler import guards, sessions
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault
from vaccel.model import Array, DType, Shape

Typed = tuple[DType, Shape]

_KERNEL: Final = "_kernel_time"
# Casts that ORT inserts where its CPU has no kernel of a narrow type: no part of the model.
INSERTED_CAST: Final = "InsertedCast_"
# Nodes that are none of the model's, by how their names begin.
INSERTED: Final = ("InsertedPrecisionFreeCast_", INSERTED_CAST, guards.PREFIX)
_DTYPES: Final[dict[str, DType]] = {
    "double": DType.FLOAT64,
    "float": DType.FLOAT32,
    "float16": DType.FLOAT16,
    "bfloat16": DType.BFLOAT16,
    "int64": DType.INT64,
    "int32": DType.INT32,
    "int16": DType.INT16,
    "int8": DType.INT8,
    "int4": DType.INT4,
    "uint64": DType.UINT64,
    "uint32": DType.UINT32,
    "uint16": DType.UINT16,
    "uint8": DType.UINT8,
    "uint4": DType.UINT4,
    "float8e4m3fn": DType.FLOAT8_E4M3FN,
    "float8e4m3fnuz": DType.FLOAT8_E4M3FNUZ,
    "float8e5m2": DType.FLOAT8_E5M2,
    "float8e5m2fnuz": DType.FLOAT8_E5M2FNUZ,
    "float4e2m1": DType.FLOAT4_E2M1FN,
    "bool": DType.BOOL,
    "string": DType.STRING,
}


@dataclass(frozen=True, slots=True)
class Executed:
    """One execution of a node. Only tensors that were there are listed; a sequence is left out by
    ORT, and None where others computed the node.
    """

    name: str
    op: str
    inputs: tuple[Typed | None, ...]
    outputs: tuple[Typed | None, ...]
    # Who computed it, where it was neither ORT nor the device.
    place: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The nodes in the order in which they ended, and what the run gave.

    ``exact``: the results are to the bit what any other run gives.
    """

    nodes: tuple[Executed, ...]
    results: Mapping[str, Any]
    exact: bool = False


def typed(value: Any) -> Typed | None:
    """Type and shape of a value; None where it is no tensor."""
    if not isinstance(value, np.ndarray):
        return None
    return (DType.STRING if value.dtype.hasobject else DType(value.dtype.name)), value.shape


def trace(
    model: bytes,
    names: Sequence[str],
    inputs: Mapping[str, Any],
    *,
    threads: int,
    scratch: Path,
    stop: ort.RunOptions | None = None,
    apart: Mapping[str, Array] | None = None,
    narrow: bool = False,
) -> Trace:
    """Run a model once, recording it. The profile's file lives in ``scratch`` only while this runs.

    ``apart`` are weights that the model has only places for.

    Raises what ``sessions.run`` raises; Exhausted past bounds.TRACE_NODES; HostFault without
    scratch.
    """
    prefix = scratch / f"trace-{secrets.token_hex(8)}"
    try:
        chosen = sessions.tracing_options(threads, prefix)
        session = sessions.open_session(model, chosen, apart or {})
        try:
            results = sessions.run(session, names, inputs, stop, narrow=narrow)
        finally:
            path = Path(session.end_profiling())
        nodes = _read(path)
    finally:
        for left in scratch.glob(prefix.name + "*"):
            left.unlink(missing_ok=True)
    return Trace(nodes, dict(zip(names, results, strict=True)))


def _read(path: Path) -> tuple[Executed, ...]:
    try:
        size = path.stat().st_size
        if size > bounds.TRACE_BYTES:
            raise Exhausted(
                f"launch's trace is {size} bytes: at most {bounds.TRACE_BYTES}",
                hint="run fewer turns of the model's loops in one launch",
            )
        events = json.loads(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise HostFault(
            f"trace {path} cannot be read: {fault}", hint="give the worker's scratch folder space"
        ) from fault
    nodes = tuple(_executed(e) for e in events if _is_node(e))
    if len(nodes) > bounds.TRACE_NODES:
        raise Exhausted(
            f"launch executed {len(nodes)} nodes: at most {bounds.TRACE_NODES}",
            hint="run fewer turns of the model's loops in one launch",
        )
    return nodes


def _is_node(event: Mapping[str, Any]) -> bool:
    name = event.get("name", "")
    return event.get("cat") == "Node" and name.endswith(_KERNEL) and not name.startswith(INSERTED)


def _executed(event: Mapping[str, Any]) -> Executed:
    args = event["args"]
    return Executed(
        event["name"].removesuffix(_KERNEL),
        args["op_name"],
        _typed(args.get("input_type_shape", ())),
        _typed(args.get("output_type_shape", ())),
    )


def _typed(entries: Sequence[Mapping[str, Sequence[int]]]) -> tuple[Typed, ...]:
    return tuple(
        (_DTYPES.get(name, DType.UINT8), tuple(shape))
        for entry in entries
        for name, shape in entry.items()
    )
