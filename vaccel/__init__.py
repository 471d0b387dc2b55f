"""vaccel: one compute API for accelerators that are not GPUs.

>>> device = vaccel.open()
>>> model = device.load("model.onnx")
>>> outputs = model(input=array)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaccel import ops
    from vaccel.client import Buffer, Call, Device, Fence, Model, Stream, open

__version__ = "0.2.0"
__all__ = ["Buffer", "Call", "Device", "Fence", "Model", "Stream", "open", "ops"]


def __getattr__(name: str) -> Any:
    # The SDK pulls in grpc (half a second): load it when it is asked for, not before.
    if name == "ops":
        return import_module("vaccel.ops")
    if name in __all__:
        return getattr(import_module("vaccel.client"), name)
    raise AttributeError(f"module 'vaccel' has no attribute {name!r}")
