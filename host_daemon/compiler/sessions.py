"""ONNX Runtime sessions: the kernels that compute, set up the same way everywhere.

The official Linux wheels collect telemetry from a thread that starts on import, unless the
environment forbids it: this module does, before it imports. A worker must be single-threaded when
it is forked, has no network, and a tenant's model is nobody else's business.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as states

from host_daemon.compiler import blame, guards, ort_values
from vaccel.errors import (
    Cancelled,
    Exhausted,
    InvalidArgument,
    InvalidModel,
    Unsupported,
    VaccelError,
)
from vaccel.model import Array

# What a tenant's model makes ORT say goes into that tenant's errors, not into the host's log.
ort.set_default_logger_severity(4)

_PROVIDERS: Final = ["CPUExecutionProvider"]
# Its time grows with the square of a chain: 11 s for 20,000 nodes in ORT 1.32, 0.6 without.
_COMMON: Final = "CommonSubexpressionElimination"
_MANY_NODES: Final = 4000
# As that of this one with the square of the constants: see ``sharing``.
_SHARING: Final = "ConstantSharing"
_IN_PLACE: Final = "session.use_external_initializer_file_buffers_directly"
_NONE: Final[Mapping[str, Array]] = MappingProxyType({})
# Everything that ORT raises by itself; all derive from Exception only.
FAULTS: Final[tuple[type[Exception], ...]] = (
    RuntimeError,
    ValueError,
    MemoryError,
    *(c for c in vars(states).values() if isinstance(c, type) and issubclass(c, Exception)),
)
# Over several blocks of the kernels, and no multiple of one.
_PROOF_DEPTH: Final = 301
_PREFIX: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_NODE: Final = re.compile(
    r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ?"
)
_NAMED: Final = re.compile(r"^(?:node '[^']*' \(\w+\): )*")
# Characters of what ORT says, before its own sources' names are taken out of it and after.
_RAW: Final = 4000
_SHOWN: Final = 600
_NO_MEMORY: Final = ("bad_alloc", "bad allocation", "Failed to allocate memory", "MemoryError")


def options(threads: int) -> ort.SessionOptions:
    """Options that every session shares: ORT's own defaults, but quiet and exact.

    ``session.x64quantprecision`` keeps U8S8 products from saturating at int16 on CPUs without VNNI.
    It costs a factor of three where they do not, so it is set only where it is needed.
    """
    chosen = _plain(threads)
    if saturates():
        chosen.add_session_config_entry("session.x64quantprecision", "1")
    return chosen


def _plain(threads: int) -> ort.SessionOptions:
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 4
    # Threads that spin for more work between launches take the CPU from whoever brings it.
    chosen.add_session_config_entry("session.force_spinning_stop", "1")
    return chosen


@cache
def saturates() -> bool:
    """Whether ORT's products of uint8 by int8 are inexact on this CPU, found out by running them.

    Each at the extremes of its types, with constant weights (which ORT packs) and with others. Some
    milliseconds, once; best before a process forks, and on one thread.
    """
    return not all(
        _is_exact(op, constant) for op in ("MatMulInteger", "ConvInteger") for constant in (0, 1)
    )


def _is_exact(op: str, constant: int) -> bool:
    """Whether a product of nothing but extremes is right; ``constant``: its weights are."""
    left = np.full((3, _PROOF_DEPTH), np.iinfo(np.uint8).max, np.uint8)
    right = np.full((_PROOF_DEPTH, 33), np.iinfo(np.int8).max, np.int8)
    right[:, 0] = np.iinfo(np.int8).min
    expected = left.astype(np.int32) @ right.astype(np.int32)
    if op == "ConvInteger":
        # A kernel of one pixel: the same product, transposed.
        left, right = left.T[None, :, :, None], right.T[:, :, None, None]
        expected = expected.T[None, :, :, None]
    kinds = (TensorProto.UINT8, TensorProto.INT8)
    values = [
        helper.make_tensor_value_info(name, kind, each.shape)
        for name, kind, each in zip("ab", kinds, (left, right), strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(op, ["a", "b"], ["c"])],
        "proof",
        values[: 2 - constant],
        [helper.make_tensor_value_info("c", TensorProto.INT32, None)],
        [numpy_helper.from_array(np.ascontiguousarray(right), "b")] if constant else [],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = open_session(made.SerializeToString(), _plain(1))
    feeds = {"a": np.ascontiguousarray(left)} | (
        {} if constant else {"b": np.ascontiguousarray(right)}
    )
    (given,) = run(session, ["c"], feeds)
    return np.array_equal(given, expected)


def tracing_options(threads: int, prefix: Path) -> ort.SessionOptions:
    """Options of a session that runs the graph as it is written and records every node."""
    chosen = options(threads)
    chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    chosen.enable_profiling = True
    chosen.profile_file_prefix = str(prefix)
    # A weight that was packed is gone from the profile.
    chosen.add_session_config_entry("session.disable_prepacking", "1")
    return chosen


def probing_options() -> ort.SessionOptions:
    """Options of a session that only finds out whether there are kernels for its nodes."""
    chosen = _plain(1)
    chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return chosen


def open_session(
    model: bytes,
    chosen: ort.SessionOptions,
    apart: Mapping[str, Array] = _NONE,
    nodes: int = 0,
    *,
    shared: bool = False,
) -> ort.InferenceSession:
    """A session over a model in memory. Raises InvalidModel or Unsupported, naming the node.

    ``apart`` are weights that the model has only places for, by place (``weights.placed``).
    ``nodes`` is the size of the graph: a large one is spared what grows with its square.
    ``shared``: equal constants are one already.
    """
    spared = [_COMMON] * (nodes > _MANY_NODES) + [_SHARING] * shared
    _lend(apart, chosen)
    try:
        session = ort.InferenceSession(
            model,
            chosen,
            providers=_PROVIDERS,
            disabled_optimizers=spared or None,
        )
        # ORT holds what it was lent by address only.
        vars(session)["lent"] = tuple(apart.values())
        return session
    except FAULTS as fault:
        text = _text(fault)
        if _is_no_memory(fault, text):
            raise Exhausted(f"no memory left to compile: {blame.reason(text)}") from fault
        if isinstance(fault, states.NotImplemented):
            raise Unsupported(blame.reason(text)) from fault
        raise guards.named(InvalidModel(blame.reason(text))) from fault


def _lend(apart: Mapping[str, Array], chosen: ort.SessionOptions) -> None:
    """Have a session compute with these weights, without a copy of each of its own.

    To ONNX Runtime they are files in memory, which it reads in place: so they must not move, and
    live as long as the session. Given as values (``add_external_initializers``) it copies all of
    them before its passes read any.
    """
    if not apart:
        return
    chosen.add_session_config_entry(_IN_PLACE, "1")
    blocks = [array.reshape(-1).view(np.uint8).data for array in apart.values()]
    sizes = [array.nbytes for array in apart.values()]
    chosen.add_external_initializers_from_files_in_memory(list(apart), blocks, sizes)


def run(
    session: ort.InferenceSession,
    names: Sequence[str],
    inputs: Mapping[str, Any],
    stop: ort.RunOptions | None = None,
    *,
    narrow: bool = False,
) -> list[Any]:
    """Run a session. Raises InvalidArgument with the node's name where the inputs do not suit it.

    Setting ``stop.terminate`` from another thread ends it with Cancelled. ``narrow``: some output
    is of a type that NumPy lacks.
    """
    try:
        feeds = {name: ort_values.feed(name, value) for name, value in inputs.items()}
        if narrow:
            given = {name: _as_ort(each) for name, each in feeds.items()}
            values = session.run_with_ort_values(list(names), given, stop)
            return [ort_values.from_ort(value) for value in values]
        results = session.run(list(names), feeds, stop)
    except VaccelError:
        raise
    except FAULTS as fault:
        text = _text(fault)
        if stop is not None and stop.terminate:
            raise Cancelled("launch stopped: its context closed") from fault
        if _is_no_memory(fault, text):
            raise Exhausted(f"launch ran out of memory: {text}") from fault
        raise guards.named(InvalidArgument(f"launch failed: {text}")) from fault
    return list(results)


def run_options() -> ort.RunOptions:
    """Options of one run, by which another thread can stop it."""
    chosen = ort.RunOptions()
    chosen.log_severity_level = 4
    return chosen


def _as_ort(value: Any) -> ort.OrtValue:
    if isinstance(value, ort.OrtValue):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        raise Unsupported("strings or sequences beside outputs of a narrow type")
    return ort_values.to_ort(value)


def _text(fault: BaseException) -> str:
    """ORT's message in one line, without its internal file names, the node first."""
    text = _PREFIX.sub("", str(fault) or type(fault).__name__)
    text = _NODE.sub(lambda m: f"node {m[2]!r} ({m[1]}): ", text)
    text = re.sub(r"/onnxruntime_src/\S+:\d+ ", "", text)
    text = "".join(c if c.isprintable() else " " for c in text[:_RAW])
    text = " ".join(text.split()) + " "
    named = _NAMED.match(text)
    who = named[0] if named else ""
    return (who + blame.readable(text[len(who) :].strip()))[:_SHOWN]


def _is_no_memory(fault: BaseException, text: str) -> bool:
    return isinstance(fault, MemoryError) or any(word in text for word in _NO_MEMORY)
