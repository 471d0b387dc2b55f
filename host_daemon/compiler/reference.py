"""Nodes that ONNX Runtime has no kernel for, computed by ONNX's own reference implementation.

They are NumPy on the shapes that a tenant chose: slow, and bounded by the worker's limits on memory
and by its being one VF's alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops import op_loop

from host_daemon.compiler.graphs import title
from host_daemon.compiler.spectra import STFT
from host_daemon.compiler.steering import RANDOM_OPS
from vaccel.errors import Cancelled, Exhausted, InvalidArgument, Unsupported, VaccelError

# What the launch under way on a thread is stopped by, and who is told of nodes within its graphs.
_launch = threading.local()
Told = Callable[[NodeProto, Sequence[Any], Sequence[Any]], None]


class Loop(op_loop.Loop):
    """The reference's loop, that ends where its launch is stopped, and that may have no condition:
    the reference takes the absence of one for no turn.
    """

    op_domain = ""

    def __init__(self, node: NodeProto, run_params: dict[str, Any]) -> None:
        super().__init__(node, run_params)  # type: ignore[no-untyped-call]
        turn: Any = getattr(self, "_run_body")  # noqa: B009 - set by a name that it builds

        def stoppable(*args: Any, **named: Any) -> Any:
            stop = getattr(_launch, "stop", None)
            if stop is not None and stop.terminate:
                raise Cancelled("launch stopped: its context closed")
            return turn(*args, **named)

        setattr(self, "_run_body", stoppable)  # noqa: B010

    def _run(self, M: Any, cond: Any, *args: Any, **named: Any) -> Any:
        run: Any = super()._run
        return run(M, np.array(True) if cond is None else cond, *args, **named)


class Evaluator(ReferenceEvaluator):
    """The reference, of which a traced launch hears what nodes of nested graphs it came to."""

    def __init__(self, proto: Any, *args: Any, **named: Any) -> None:
        super().__init__(proto, *args, **named)
        if isinstance(proto, GraphProto):
            for node in self.rt_nodes_:
                _tell_of(node)


def _tell_of(node: Any) -> None:
    run = node.run

    def telling(*inputs: Any, **named: Any) -> Any:
        outputs = run(*inputs, **named)
        told: Told | None = getattr(_launch, "told", None)
        if told is not None:
            told(node.onnx_node, inputs, outputs)
        return outputs

    node.run = telling


class ReferenceNode:
    """One node, containers with their graphs included. Raises Unsupported where ONNX has no
    reference for it.
    """

    def __init__(self, node: NodeProto, model: ModelProto, takes: Sequence[str]) -> None:
        self._title = title(node)
        self._gives = [name for name in node.output if name]
        graph = GraphProto(name="node", node=[node])
        graph.input.extend(ValueInfoProto(name=name) for name in takes)
        graph.output.extend(ValueInfoProto(name=name) for name in self._gives)
        alone = ModelProto(ir_version=model.ir_version, graph=graph)
        alone.opset_import.extend(model.opset_import)
        if node.op_type == "ImageDecoder" and find_spec("PIL") is None:
            raise Unsupported(
                f"node {self._title}: this host decodes no images: it has no Pillow",
                hint="decode the image before, and give the model its pixels",
            )
        if node.op_type in RANDOM_OPS:
            # Workers are forked: they must not all draw the same numbers.
            np.random.seed()
        try:
            self._evaluator = Evaluator(alone, new_ops=[Loop, STFT])
        except Exception as fault:
            raise Unsupported(
                f"node {self._title}: no kernel computes it on this host: {_text(fault)}",
                hint="write it with other operators",
            ) from fault

    def run(
        self,
        inputs: Mapping[str, Any],
        stop: ort.RunOptions | None = None,
        told: Told | None = None,
    ) -> dict[str, Any]:
        """Results by name. Raises InvalidArgument naming the node where the inputs do not suit.

        Setting ``stop.terminate`` ends it at the next turn of a loop. ``told`` hears of each node
        of its graphs, once it has run.
        """
        _launch.stop, _launch.told = stop, told
        try:
            with np.errstate(all="ignore"):
                results = self._evaluator.run(None, dict(inputs))
        except MemoryError as fault:
            raise Exhausted(f"node {self._title} ran out of memory: {_text(fault)}") from fault
        except VaccelError:
            raise
        except ImportError as fault:
            raise Unsupported(f"node {self._title}: {_text(fault)}") from fault
        except Exception as fault:  # what NumPy raises depends on what a tenant gave
            raise InvalidArgument(f"launch failed: node {self._title}: {_text(fault)}") from fault
        finally:
            _launch.told = None
        return {n: _plain(each) for n, each in zip(self._gives, results, strict=True)}


def _plain(value: Any) -> Any:
    """A result as others take it: the reference may give NumPy scalars and tuples."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, dict):
        return value
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array


def _text(fault: BaseException) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(fault) or type(fault).__name__)
    return " ".join(text.split())[:400]
