"""ONNX in, a program for one VF out. Runs in the VF's worker, because a model file is hostile
input.
"""

import os as _os

# Before anything here imports ONNX Runtime: see ``sessions``.
_os.environ["ORT_DISABLE_TELEMETRY"] = "1"
