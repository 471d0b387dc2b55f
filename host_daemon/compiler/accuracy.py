"""A demand on the accuracy of a whole program: what ``device.load(…, max_error=0.1)`` asks.

It becomes the demand of each node that the device may keep the weights of, as if the node's
metadata stated ``vaccel.max_error``. A card without analog arithmetic computes what the model says,
so that a demand is met by it; but for a model that the same load asks to be in a shorter arithmetic
nothing measures what that rounds away, and the two are refused together.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from host_daemon.compiler.analysis import Analysis, NodeInfo
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.core.device import ANALOG, MAX_ERROR, DeviceModel
from vaccel.errors import InvalidArgument, Unsupported

_EXACT = frozenset({"", "fp32"})


def held_to(
    max_error: float, model: CheckedModel, analysis: Analysis, asked: str, device: DeviceModel
) -> tuple[CheckedModel, Analysis]:
    """The model and its analysis with the demand at each node that states none of its own.

    ``asked`` is the arithmetic that the load asks for. Raises InvalidArgument for what is no error,
    Unsupported where nothing measures it.
    """
    if not 0 < max_error < math.inf:
        raise InvalidArgument(
            f"max_error = {max_error!r} is not a positive number",
            hint="such as 0.05: five percent of the result's size",
        )
    if ANALOG not in device.arithmetic:
        if asked in _EXACT:
            return model, analysis
        raise Unsupported(
            f"a model in {asked[:80]!r} with max_error = {max_error:g}: this card does not measure"
            " what its arithmetic rounds away",
            hint="load it in float32, which is exact, or without the demand",
        )
    # What a device keeps for this demand is not what it keeps for another.
    named = hashlib.sha256(f"{model.sha256}/{max_error!r}".encode()).hexdigest()
    nodes = {name: _demanding(info, max_error) for name, info in analysis.nodes.items()}
    return replace(model, sha256=named), replace(analysis, nodes=nodes)


def _demanding(info: NodeInfo, max_error: float) -> NodeInfo:
    if not info.constant_inputs or info.free or MAX_ERROR in info.attributes:
        return info
    return replace(info, attributes={**info.attributes, MAX_ERROR: repr(max_error)})
