"""Weights that the device keeps: written when a program is loaded, metered, and dropped with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from host_daemon.core.device import NodeCost, Operation
from host_daemon.devices import registry
from host_daemon.devices.npu.device import NpuDevice
from host_daemon.worker.executor import Executor
from tests.conformance import models
from tests.conformance.compute import opened, tensor
from tests.conformance.compute_session import affine, array
from tests.unit.host_daemon.worker.conftest import make_vf
from vaccel.model import Array


class Keeping(NpuDevice):
    """An NPU that keeps the weights of its products, and says what it was asked."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.kept: dict[str, Array] = {}

    def computes(self, operation: Operation) -> bool:
        return operation.op == "MatMul" and 1 in operation.constant_inputs

    def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
        self.kept[operation.resident] = weights[1]
        return NodeCost("array", 5000, {"array": 5000}, {}, {"array": 2.0})

    def drop(self, resident: str) -> None:
        self.kept.pop(resident, None)

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        left = inputs[0]
        assert left is not None
        return [np.asarray(left @ self.kept[operation.resident])]


async def test_weights_are_kept_metered_and_dropped(tmp_path: Path) -> None:
    card = registry.load_card(registry.find_card("kcloud-1"))
    device = Keeping(card, card.profiles[0])
    vf = replace(make_vf(tmp_path), model=device)
    async with Executor(vf) as executor:
        async with opened(executor) as session:
            program = await session.load(models.build("affine"))
            assert len(device.kept) == 1
            usage = executor.usage()
            # Writing is no launch, but it takes time and energy, and is paid by who loads.
            assert usage.launches == 0
            assert usage.device_ns >= 5000 / device.clock_hz * 1e9
            assert usage.joules >= 2.0

            x = np.arange(8, dtype=np.float32).reshape(2, 4)
            done = await session.launch(program.id, {"x": tensor(x)})
            np.testing.assert_allclose(array(done.results["y"]), affine(x), rtol=1e-6)
            assert done.cost is not None
            assert done.cost.start_ns == usage.device_ns

            await executor.unload_program(session.context, program.id)
            await executor.begin_epoch(4)
        assert not device.kept
