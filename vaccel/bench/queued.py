"""Silero VAD as one queue of launches: frames, states and outputs stay in device memory.

Each launch takes the state that the one before left there, so nothing travels between two frames,
and the whole clip costs a dozen calls instead of two per frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaccel import bounds
from vaccel.bench.workloads import silero
from vaccel.bench.workloads.audio import Samples
from vaccel.bench.workloads.cases import Arrays
from vaccel.commands import Launch, Nop, Result
from vaccel.model import Cost, DType, Tensor

if TYPE_CHECKING:
    import vaccel

_ITEM = 4
_FRAME_BYTES = (silero.CONTEXT + silero.FRAME) * _ITEM
_STATE_SHAPE = silero.first_state().shape
_STATE_BYTES = silero.first_state().nbytes


def run(device: vaccel.Device, model: vaccel.Model, samples: Samples) -> tuple[Arrays, list[Cost]]:
    """What ``silero.run`` gives, and the cost of each launch. Raises the first launch's error."""
    frames = silero.frames(samples)
    count = len(frames)
    inputs = device.buffer(frames)
    states = device.buffer((count + 1) * _STATE_BYTES)  # zeros: the first state
    outputs = device.buffer(max(1, count) * _ITEM)
    rate = Tensor(DType.INT64, (), data=np.array(silero.RATE, np.int64).tobytes())
    launches = [
        Launch(
            model.id,
            {
                "input": inputs.tensor("float32", (1, frames.shape[1]), i * _FRAME_BYTES),
                "state": states.tensor("float32", _STATE_SHAPE, i * _STATE_BYTES),
                "sr": rate,
            },
            (
                Result("output", outputs.at(i * _ITEM)),
                Result("stateN", states.at((i + 1) * _STATE_BYTES)),
            ),
        )
        for i in range(count)
    ]
    stream = device.stream()
    for start in range(0, count, bounds.COMMANDS_PER_SUBMIT):
        stream.submit(*launches[start : start + bounds.COMMANDS_PER_SUBMIT])
    # A submission of its own is not cancelled with the others: it marks their end in any case.
    end = stream.submit(Nop())
    end.wait()
    costs = [stream.fence(value).wait().cost or Cost() for value in range(1, end.value)]
    found = {
        "output": outputs.read("float32", (count, 1, 1)),
        "stateN": states.read("float32", (count, *_STATE_SHAPE), _STATE_BYTES),
    }
    for buffer in (inputs, states, outputs):
        buffer.free()
    return found, costs
