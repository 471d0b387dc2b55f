"""Measures aihwkit: multiply-accumulates per second of CPU time, of one thread.

Runs in an environment of its own that holds aihwkit 1.1.0 and PyTorch, started by
``analog_speed.py`` and by hand: python docs/devices/analog_peer.py. Prints a JSON object of
``"preset inputs outputs": rate``. Weights are programmed before, as they are with us.
"""

from __future__ import annotations

import json
import time

import torch
from aihwkit.inference import PCMLikeNoiseModel
from aihwkit.nn import AnalogLinear
from aihwkit.simulator.configs import InferenceRPUConfig
from aihwkit.simulator.presets import StandardHWATrainingPreset
from aihwkit.simulator.presets.utils import PresetIOParameters

SIZES = ((64, 64), (256, 256), (512, 128))
BATCH, SECONDS = 256, 0.3


def config(preset: str) -> InferenceRPUConfig:
    """The settings of aihwkit behind the name of a row of tests/oracles/analog/aihwkit.csv."""
    if preset == "StandardHWATrainingPreset":
        return StandardHWATrainingPreset()
    chosen = InferenceRPUConfig()
    chosen.mapping.weight_scaling_omega = 1.0
    chosen.drift_compensation = None
    chosen.noise_model = PCMLikeNoiseModel(g_max=25.0)
    chosen.forward = PresetIOParameters()
    if preset == "pcm_7dac_9adc":
        return chosen
    chosen.noise_model.prog_noise_scale = chosen.noise_model.read_noise_scale = 0.0
    chosen.noise_model.drift_scale = 0.0
    chosen.forward.out_noise = 0.0
    if preset == "quant_only_7dac_9adc":
        return chosen
    chosen.forward.inp_res = chosen.forward.out_res = -1.0
    if preset == "out_noise_only_0.1":
        chosen.forward.out_noise = 0.1
    elif preset == "ir_drop_only_1.0":
        chosen.forward.ir_drop = 1.0
    else:
        chosen.forward.is_perfect = True
    return chosen


def rate(preset: str, inputs: int, outputs: int) -> float:
    """MAC/s of one programmed layer."""
    layer = AnalogLinear(inputs, outputs, bias=False, rpu_config=config(preset))
    layer.set_weights(torch.randn(outputs, inputs))
    layer.eval()
    layer.drift_analog_weights(0.0)
    x = torch.randn(BATCH, inputs)
    with torch.no_grad():
        calls, spent = 1, 0.0
        while spent < SECONDS:
            calls *= 2
            start = time.process_time()
            for _ in range(calls):
                layer(x)
            spent = time.process_time() - start
    return calls * BATCH * inputs * outputs / spent


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = ("pcm_7dac_9adc", "quant_only_7dac_9adc", "out_noise_only_0.1", "ir_drop_only_1.0")
    every = (*names, "drift_only", "StandardHWATrainingPreset")
    found = {f"{name} {n} {m}": rate(name, n, m) for name in every for n, m in SIZES}
    print(json.dumps(found))
