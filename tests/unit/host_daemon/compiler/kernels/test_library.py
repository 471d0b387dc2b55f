"""The table and what is drawn from it: complete, refused at load where it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host_daemon.compiler.kernels.graphs import DRAWINGS
from host_daemon.compiler.program import Target, compile_kernel
from host_daemon.devices import registry
from tests.unit.host_daemon.compiler.kernels import cases
from tests.unit.host_daemon.compiler.kernels.cases import SETTINGS, example
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument, NotFound, Unsupported
from vaccel.kernels import KERNELS
from vaccel.model import DType, Port

ALL = [
    (name, kind)
    for name, kernel in KERNELS.items()
    for kind in dict.fromkeys(k for t in kernel.types for k in next(iter(t.variables.values())))
]


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_every_kernel_runs_in_every_type_as_its_signature_says(
    npu: Target, name: str, kind: DType
) -> None:
    cases.run(npu, name, example(name, kind), **SETTINGS.get(name, {}))


@pytest.mark.parametrize("card", registry.cards())
def test_every_kernel_runs_on_every_card(card: str, tmp_path: Path) -> None:
    found = registry.load_card(registry.find_card(card))
    target = Target(registry.model(found, found.profiles[0]), 1, tmp_path)
    for name, kernel in KERNELS.items():
        kind = next(iter(kernel.types[0].variables.values()))[0]
        arrays, settings = example(name, kind), SETTINGS.get(name, {})
        program = cases.run(target, name, arrays, **settings).program
        cost = program.estimate({key: array.shape for key, array in arrays.items()}, {})
        assert sum(cost.nodes.values()) >= 1 and cost.critical_cycles > 0, name


# ONNX Runtime has no kernel of its own and runs the operator's definition, of several nodes.
COMPOSED = {"rms_norm", "group_norm", "silu", "mish", "hard_swish"}


@pytest.mark.parametrize("name", KERNELS)
def test_a_plan_by_shape_is_what_a_traced_run_finds(
    npu: Target, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = example(name, next(iter(KERNELS[name].types[0].variables.values()))[0])
    by_shape = cases.compiled(npu, name, arrays, **SETTINGS.get(name, {}))
    traced = cases.compiled(npu, name, arrays, **SETTINGS.get(name, {}))
    monkeypatch.setattr(traced, "_plan_by_shapes", lambda *_: None)
    names = [port.name for port in by_shape.outputs]
    given, wanted = (program.run(arrays, names).cost for program in (by_shape, traced))
    assert sum(given.nodes.values()) == 1
    assert given == wanted or name in COMPOSED


def test_every_kernel_is_drawn() -> None:
    assert DRAWINGS.keys() == KERNELS.keys()


def port(name: str, *shape: Any, kind: DType = DType.FLOAT32) -> Port:
    return Port(name, kind, shape)


Refusal = tuple[str, tuple[Port, ...], dict[str, str], tuple[str, ...]]
REFUSED: dict[str, Refusal] = {
    "shapes": (
        "matmul",
        (port("", 2, 3), port("", 4, 5)),
        {},
        ("a: float32[2, 3]; b: float32[4, 5]", "k is 3 in a, but 4 in b"),
    ),
    "shapes beside symbols": (
        "matmul",
        (port("a", "m", 3), port("b", 4, "n")),
        {},
        ("a: float32[m, 3]; b: float32[4, n]", "k is 3 in a, but 4 in b"),
    ),
    "batches": ("matmul", (port("", 2, 1, 1), port("", 3, 1, 1)), {}, ("[2] of a and [3] of b",)),
    "a rank": ("matmul", (port("", 3), port("", 3, 3)), {}, ("a has rank 1", "at least 2")),
    "types": ("matmul", (port("", 2, 2), port("", 2, 2, kind=DType.INT8)), {}, ("float32, int8",)),
    "a type": ("softmax", (port("x", 2, kind=DType.INT8),), {}, ("int8", "float32, float16")),
    "too few": ("matmul", (port("a", 2, 2),), {}, ("b[…, k, n] is missing", "a: float32[2, 2]")),
    "too many": ("relu", (port("", 2), port("", 2)), {}, ("no operand", "x[s…]")),
    "twice": ("add", (port("a", 2), port("a", 2)), {}, ("'a' is given twice",)),
    "a name": ("add", (port("a", 2), port("c", 2)), {}, ("no operand 'c'",)),
    "a number": ("concat", (port("parts0", 2), port("parts7", 2)), {}, ("no operand 'parts7'",)),
    "a digit": ("concat", (port("parts0", 2), port("parts\u0661", 2)), {}, ("no operand 'parts",)),
    "none": ("concat", (), {}, ("parts[p…]… is missing, given none",)),
    "a setting": ("softmax", (port("x", 2),), {"speed": "1"}, ("'speed'", "axis")),
    "no axis": ("softmax", (port("x", 2, 3),), {"axis": "-3"}, ("axis -3", "x: float32[2, 3]")),
    "no number": ("softmax", (port("x", 2),), {"axis": "1e3"}, ("axis is '1e3'", "integer")),
    "a long number": ("softmax", (port("x", 2),), {"axis": "1" * 9999}, ("axis is '111",)),
    "beyond int64": ("top_k", (port("x", 2),), {"k": str(1 << 63)}, ("k is '922",)),
    "nan": ("elu", (port("x", 2),), {"alpha": "nan"}, ("alpha is 'nan'", "number")),
    "many": ("tile", (port("x", 2),), {"repeats": "1," * 99 + "1"}, ("at most 64",)),
    "no setting": ("top_k", (port("x", 2),), {}, ("attribute k is missing", "how many")),
    "a choice": ("cast", (port("x", 2),), {"to": "string"}, ("to is 'string'", "one of")),
    "a filter": ("conv1d", (port("x", 1, 4, 9), port("weight", 3, 3, 2)), {}, ("c is 4 in x",)),
    "groups": (
        "conv2d",
        (port("x", 1, 4, 9, 9), port("weight", 3, 2, 1, 1)),
        {"group": "2"},
        ("3 filters", "2 groups"),
    ),
    "a group": (
        "conv1d",
        (port("x", 1, 1, 9), port("weight", 1, 1, 1)),
        {"group": "0"},
        ("1 or more",),
    ),
    "a bias": (
        "conv1d",
        (port("x", 1, 1, 9), port("weight", 2, 1, 1), port("bias", 3)),
        {},
        ("f is 2 in weight, but 3 in bias",),
    ),
    "a window": ("max_pool", (port("x", 1, 1, 4),), {"kernel": "5"}, ("window of 5", "4 elements")),
    "no window": ("max_pool", (port("x", 1, 1, 4),), {"kernel": "0"}, ("kernel [0] is less",)),
    "padding": ("max_pool", (port("x", 1, 1, 4),), {"kernel": "2", "padding": "2"}, ("not less",)),
    "a step": ("max_pool", (port("x", 1, 1, 4),), {"kernel": "2", "stride": "0"}, ("stride [0]",)),
    "no space": ("global_max_pool", (port("x", 1, 4),), {}, ("no axes beyond",)),
    "channels": ("batch_norm", (port("x", 1, 4), *(port("", 3),) * 4), {}, ("c is 4 in x",)),
    "group norm": (
        "group_norm",
        (port("x", 1, 4, 2), port("", 4), port("", 4)),
        {"groups": "3"},
        ("4 channels", "3 groups"),
    ),
    "gates": (
        "lstm",
        (port("x", 1, 1, 2), port("w", 1, 7, 2), port("r", 1, 8, 2)),
        {},
        ("4*h is 7 in w", "no multiple of 4"),
    ),
    "group norms": (
        "group_norm",
        (port("x", 1, 4, 2), port("", 4), port("", 4)),
        {"groups": "-1"},
        ("groups is '-1'", "1 or more"),
    ),
    "hidden": (
        "gru",
        (port("x", 1, 1, 2), port("w", 1, 6, 2), port("r", 1, 6, "h")),
        {},
        ("hidden size is not known",),
    ),
    "two ways": (
        "rnn",
        (port("x", 1, 1, 2), port("w", 1, 3, 2), port("r", 1, 3, 3)),
        {"direction": "bidirectional"},
        ("bidirectional takes d = 2",),
    ),
    "heads": (
        "attention",
        (port("q", 1, 3, 2, 4), port("k", 1, 2, 5, 4), port("v", 1, 2, 5, 4)),
        {},
        ("3 heads of q",),
    ),
    "positions": (
        "rotary_embedding",
        (port("", 1, 1, 3, 4), port("", 2, 2), port("", 2, 2), port("", 1, 3, kind=DType.INT64)),
        {},
        ("3 positions a sequence", "2 rows"),
    ),
    "a mask": (
        "cached_attention",
        (
            port("q", 1, 2, 1, 4),
            *(port(n, 1, 2, 1, 4) for n in "kv"),
            *(port(n, 1, 2, 6, 4) for n in ("past_key", "past_value")),
            port("mask", 1, 6),
        ),
        {},
        ("mask is for 6 keys", "6 of before and 1 new"),
    ),
    "indices": (
        "gather_elements",
        (port("x", 2, 3), port("indices", 3, 3, kind=DType.INT64)),
        {"axis": "1"},
        ("indices reach 3 along axis 0",),
    ),
    "no elements": ("layer_norm", (port("x", 0, 2), port("scale", 2)), {}, ("x has no elements",)),
    "no cut": ("pad", (port("x", 9),), {"pads": "-20,20"}, ("pads cut more than the 9",)),
    "k": ("top_k", (port("x", 3),), {"k": "4"}, ("k 4", "3 elements")),
    "an order": ("transpose", (port("x", 2, 3),), {"perm": "1"}, ("no order of 2 axes",)),
    "parts": ("concat", (port("", 2, 3), port("", 3, 3)), {"axis": "1"}, ("parts1 has 3",)),
    "a cut": ("slice", (port("x", 2),), {"starts": "0", "ends": "1", "steps": "0"}, ("has a 0",)),
    "cuts": ("slice", (port("x", 2),), {"starts": "0,0", "ends": "1"}, ("2 starts and 1 ends",)),
    "pads": ("pad", (port("x", 2),), {"pads": "1"}, ("has 1 numbers for 1 axes",)),
    "reflected": ("pad", (port("x", 2),), {"pads": "2,0", "mode": "reflect"}, ("be reflected",)),
    "elements": ("reshape", (port("x", 6),), {"shape": "4,2"}, ("6 elements", "[4, 2]")),
    "open twice": ("reshape", (port("x", 6),), {"shape": "-1,-1"}, ("one -1",)),
    "broadcast": ("expand", (port("x", 3),), {"shape": "2,4"}, ("does not broadcast",)),
    "repeats": ("tile", (port("x", 3),), {"repeats": "2,2"}, ("must be 1 numbers",)),
    "a dimension": ("relu", (port("x", -1),), {}, ("-1 is no dimension",)),
    "too high": ("relu", (port("x", *[1] * 17),), {}, ("rank is at most",)),
    "a scale": (
        "quantize",
        (port("x", 3), port("scale", 2), port("zero", kind=DType.INT8)),
        {},
        ("scale has rank 1, expected 0",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_at_load(npu: Target, case: str) -> None:
    name, operands, settings, words = REFUSED[case]
    with pytest.raises(InvalidArgument) as caught:
        compile_kernel(KernelSource(name, operands, settings), npu)
    text = str(caught.value)
    assert name in text or "operand" in text
    assert "\n" not in text and len(text) < 1000
    for word in words:
        assert word in text, text


def test_what_does_not_exist_is_named(npu: Target) -> None:
    with pytest.raises(NotFound, match=r"'matmull' does not exist.*matmul"):
        compile_kernel(KernelSource("matmull", ()), npu)
    with pytest.raises(NotFound, match="vaccelctl ops"):
        compile_kernel(KernelSource("\0" * 1000, ()), npu)
    sides = (port("a", 2, 2), port("b", 2, 2))
    with pytest.raises(Unsupported, match="fp4"):
        compile_kernel(KernelSource("matmul", sides, {"arithmetic": "fp4"}), npu)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_a_recurrence_over_nothing_is_refused(npu: Target, name: str) -> None:
    """ONNX Runtime ends the process, or gives what lay in memory before."""
    full = example(name, DType.FLOAT32)
    ports = tuple(Port(n, DType.FLOAT32, (None,) * 2 + a.shape[2:]) for n, a in full.items())
    program = compile_kernel(KernelSource(name, ports), npu)
    for axis in (0, 1):
        arrays = full | {"x": np.take(full["x"], [], axis)}
        with pytest.raises(InvalidArgument, match="no elements"):
            program.run(arrays, [each.name for each in program.outputs])
        with pytest.raises(InvalidArgument, match="x has no elements"):
            cases.compiled(npu, name, arrays)


def test_shapes_that_only_a_launch_says_are_refused_in_the_kernels_own_words(npu: Target) -> None:
    ports = tuple(Port(name, DType.FLOAT32, (None, None)) for name in "ab")
    program = compile_kernel(KernelSource("matmul", ports), npu)
    with pytest.raises(InvalidArgument, match=r"kernel matmul: a: .*k is 3") as caught:
        program.estimate({"a": (2, 3), "b": (4, 5)}, {})
    assert "a[…, m, k]" in caught.value.hint
    with pytest.raises(InvalidArgument, match="kernel matmul: a: "):
        program.run({"a": np.ones((2, 3), np.float32), "b": np.ones((4, 5), np.float32)}, [])
    assert program.estimate({"a": (2, 3), "b": (3, 5)}, {}).nodes == {"array": 1}


def test_symbols_are_kept_in_the_signature(npu: Target) -> None:
    sides = (port("x", "rows", 4), port("weight", 8, 4))
    program = compile_kernel(KernelSource("linear", sides), npu)
    assert [str(each) for each in program.outputs] == ["result: float32[rows, 8]"]
    unknown = Port("x", DType.FLOAT32, None)
    program = compile_kernel(KernelSource("relu", (unknown,)), npu)
    assert program.run({"x": np.float32([[-1]])}, ["result"]).results["result"].shape == (1, 1)
