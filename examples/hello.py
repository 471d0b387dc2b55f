"""Three lines run a model on a VF: open the device, load the model, call it with arrays."""

import sys

import numpy as np

import vaccel

frame = np.random.default_rng(0).standard_normal((1, 576), np.float32) * 0.1
state = np.zeros((2, 1, 128), np.float32)

device = vaccel.open()
model = device.load(sys.argv[1])
outputs = model(input=frame, state=state, sr=np.array(16000))

print(model)
print(f"speech probability {outputs['output'].item():.4f}")
print(f"{outputs.cost.critical_cycles} cycles, {outputs.cost.device_ns} ns on the device")
