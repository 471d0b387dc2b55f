"""The one suite over the Compute port: what holds wherever Compute is implemented or passed on.

Use, in a test module that has a fixture ``compute`` (a Compute with one device and no context)::

    from tests.conformance.compute import CHECKS

    @pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
    async def test_compute(compute, check):
        await check(compute, models.build)

A check is a plain coroutine ``check(compute, model)`` where ``model(name)`` gives the bytes of one
of ``tests.conformance.models``; nothing here needs pytest or onnx, so that it runs in a guest too.
"""

from __future__ import annotations

from tests.conformance import compute_memory, compute_programs, compute_streams, compute_values
from tests.conformance.compute_session import CHECKS, Check, Model, Session, opened, tensor

__all__ = [
    "CHECKS",
    "Check",
    "Model",
    "Session",
    "compute_memory",
    "compute_programs",
    "compute_streams",
    "compute_values",
    "opened",
    "tensor",
]
