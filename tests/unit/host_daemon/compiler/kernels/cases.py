"""Random operands for a kernel, from the dimensions that its table gives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import seed, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from host_daemon.compiler.kernels import build
from host_daemon.compiler.program import CompiledProgram, Target, compile_kernel, compile_model
from vaccel.compute import KernelSource
from vaccel.kernels import KERNELS
from vaccel.kernels.declaration import Kernel, setting_text
from vaccel.model import DType, Port

LARGEST = 5
# The card whose every arithmetic the tables of types are about gets more examples than others,
# most of whose kernels are the same ones.
MANY, FEW = 6, 3


def few(target: Target, examples: int = 0) -> Callable[[Any], Any]:
    """Random examples, the same in each run, others for each card."""
    card = target.device.card.name
    count = examples or (MANY if card == "kcloud-1" else FEW)
    chosen = settings(max_examples=count, deadline=None, database=None)
    return lambda check: seed(zlib.crc32(card.encode()))(chosen(check))


@dataclass
class Run:
    """What a kernel took and gave, and which parts of the card computed it."""

    arrays: Mapping[str, np.ndarray]
    results: Mapping[str, np.ndarray]
    program: CompiledProgram
    places: frozenset[str]


def compiled(
    target: Target, name: str, arrays: Mapping[str, np.ndarray], **settings: object
) -> CompiledProgram:
    ports = tuple(Port(n, DType(a.dtype.name), a.shape) for n, a in arrays.items())
    texts = {key: setting_text(value) for key, value in settings.items()}
    return compile_kernel(KernelSource(name, ports, texts), target)


def run(target: Target, name: str, arrays: Mapping[str, np.ndarray], **settings: object) -> Run:
    """Compile and launch; the shapes and types that the signature promised are those that came."""
    program = compiled(target, name, arrays, **settings)
    names = [port.name for port in program.outputs]
    outcome = program.run(arrays, names)
    results = outcome.results
    for port in program.outputs:
        found = results[port.name]
        assert (found.dtype.name, found.shape) == (port.dtype.value, port.shape), port
    assert names == [each.name for each in KERNELS[name].results]
    return Run(arrays, results, program, frozenset(outcome.cost.nodes))


def dims(draw: st.DrawFn, kernel: Kernel, least: int = 1, **sizes: int) -> dict[str, tuple]:
    """A shape for each operand that is not left out; symbols given in ``sizes`` are as they say."""
    groups: dict[str, tuple[int, ...]] = {}
    found: dict[str, tuple] = {}
    for operand in kernel.operands:
        shape: list[int] = []
        for token in operand.tokens:
            if token == "…":
                shape += _broadcast(draw, groups)
            elif token.endswith("…"):
                if token not in groups:
                    rank = draw(st.integers(1 if token[0] != "i" else 0, 3))
                    size = st.integers(least, LARGEST)
                    groups[token] = tuple(draw(size) for _ in range(rank))
                shape += groups[token]
            elif token.isdecimal():
                shape.append(int(token))
            else:
                factor, _, symbol = token.rpartition("*")
                if symbol not in sizes:
                    sizes[symbol] = draw(st.integers(least, LARGEST))
                shape.append(sizes[symbol] * int(factor or 1))
        found[operand.name] = tuple(shape)
    return found


def _broadcast(draw: st.DrawFn, groups: dict[str, tuple[int, ...]]) -> list[int]:
    if "…" not in groups:
        groups["…"] = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    common = groups["…"]
    kept = draw(st.integers(0, len(common)))
    return [size if draw(st.booleans()) else 1 for size in common[len(common) - kept :]]


def numbers(rng: np.random.Generator, shape: tuple, kind: str, low=-4.0, high=4.0) -> np.ndarray:
    """Random numbers; integers over their whole range where they have 8 bits."""
    if kind == "bool":
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    if kind in ("int8", "uint8"):
        limits = np.iinfo(kind)
        return np.asarray(rng.integers(limits.min, limits.max + 1, shape)).astype(kind)
    if kind.startswith("int"):
        return np.asarray(rng.integers(-1000, 1000, shape)).astype(kind)
    return np.asarray(rng.uniform(low, high, shape)).astype(kind)


def wide(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In float64, in which the exact result is computed."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}


# Settings that have no default, and sizes that must suit them.
SETTINGS: dict[str, dict[str, Any]] = {
    "max_pool": {"kernel": (2,)},
    "average_pool": {"kernel": (2,)},
    "cast": {"to": "int8"},
    "group_norm": {"groups": 2},
    "top_k": {"k": 2},
    "slice": {"starts": (0,), "ends": (1,)},
    "pad": {"pads": (1, 1, 0, 0)},
    "reshape": {"shape": (-1,)},
    "expand": {"shape": (2, 3, 4)},
    "tile": {"repeats": (2, 1)},
}
SIZES = {"c": 4, "h": 4, "w": 6, "f": 8, "kw": 3, "kh": 3, "kd": 3, "d": 1, "g": 2, "a": 5, "p": 3}
SPACE = {"conv3d": {"d": 5}, "attention": {"d": 3}, "cached_attention": {"d": 3}}


def example(name: str, kind: DType) -> dict[str, np.ndarray]:
    """Operands of a kernel, the first of a type."""
    kernel = KERNELS[name]
    types = next(t for t in kernel.types if kind in next(iter(t.variables.values())))
    sizes = {**SIZES, **SPACE.get(name, {})}
    rng, found = np.random.default_rng(0), {}
    for operand, wanted in zip(kernel.operands, types.operands, strict=False):
        shape: list[int] = []
        for token in operand.tokens:
            factor, _, symbol = token.rpartition("*")
            size = sizes.get(symbol.partition("/")[0], 2)
            if token.endswith("…"):
                shape += [] if token == "…" else [3, 4]
            else:
                shape.append(int(token) if token.isdecimal() else size * int(factor or 1))
        dtype = (types.variables.get(wanted) or (DType(wanted),))[0]
        if wanted == next(iter(types.variables)):
            dtype = kind
        name_ = f"{operand.name}0" if operand.repeated else operand.name
        found[name_] = numbers(rng, tuple(shape), dtype.value, 0.5, 1)
    if name in ("gather", "embedding", "gather_elements", "rotary_embedding"):
        last = list(found)[-1]
        found[last] = found[last] % 2
    return found


@contextmanager
def kept(
    target: Target,
    name: str,
    arrays: Mapping[str, np.ndarray],
    keeps: Collection[str],
    **settings: object,
) -> Iterator[CompiledProgram]:
    """A kernel of which some operands are the program's own: weights, which cards keep where they
    are multiplied.
    """
    ports = tuple(Port(n, DType(a.dtype.name), a.shape) for n, a in arrays.items())
    texts = {key: setting_text(value) for key, value in settings.items()}
    model = build(KernelSource(name, ports, texts), target.device.arithmetic)
    left = [each for each in model.graph.input if each.name not in keeps]
    del model.graph.input[:]
    model.graph.input.extend(left)
    model.graph.initializer.extend(numpy_helper.from_array(arrays[n], n) for n in keeps)
    program = compile_model(model.SerializeToString(), target)
    assert program.nodes == 1
    try:
        yield program
    finally:
        program.close()


def held(
    target: Target,
    name: str,
    arrays: Mapping[str, np.ndarray],
    keeps: Collection[str],
    **settings: object,
) -> Run:
    """As ``run``, of a kernel with weights of its own."""
    given = {each: array for each, array in arrays.items() if each not in keeps}
    with kept(target, name, arrays, keeps, **settings) as program:
        outcome = program.run(given, [port.name for port in program.outputs])
    return Run(arrays, outcome.results, program, frozenset(outcome.cost.nodes))
