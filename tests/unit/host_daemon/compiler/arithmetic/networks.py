"""Small networks whose sums are exact in float32, so that what is expected is so to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from host_daemon.devices.registry import find_card, load_card, model

NODE = helper.make_node
F32 = TensorProto.FLOAT


def target(tmp_path: Path, card: str = "kcloud-1") -> Target:
    found = load_card(find_card(card))
    return Target(model(found, found.profiles[0]), 1, tmp_path)


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Of 9 bits, which bf16 rounds, and few enough for exact sums of exact products."""
    whole = np.random.default_rng(seed).integers(-511, 512, shape)
    return (whole / 64).astype(np.float32)


def network(
    nodes: list, shapes: dict[str, list], weights: dict[str, np.ndarray], opset: int = 17
) -> ModelProto:
    """From ``x`` to ``y``; ``shapes`` of the inputs."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, F32, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", F32, None)],
        [from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def compiled(made: ModelProto, target_: Target, arithmetic: str = "") -> CompiledProgram:
    return compile_model(made.SerializeToString(), target_, arithmetic=arithmetic)


def run(program: CompiledProgram, **inputs: np.ndarray) -> np.ndarray:
    """The first result, of a launch that was traced and of one that was not."""
    name = program.outputs[0].name
    first = program.run(inputs, [name]).results[name]
    again = program.run(inputs, [name]).results[name]
    np.testing.assert_array_equal(first, again)
    return first
