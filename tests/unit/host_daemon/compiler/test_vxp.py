"""Program files: what they hold comes back; damage, another target and lies are refused by name."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.compiler import frontend, vxp
from host_daemon.compiler.program import Target, compile_model
from tests.conformance import models
from tests.unit.host_daemon.compiler.test_weights import dense
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidModel, Unsupported, VaccelError

HERE = vxp.Identity("npu", "kcloud-1", "npu.1c.6g")


def file_of(data: bytes, identity: vxp.Identity = HERE) -> bytes:
    return b"".join(vxp.write(frontend.read(data), identity, {"cycles": 1}))


GOOD = file_of(dense().SerializeToString())


def rewritten(change: Callable[[dict[str, Any]], object], file: bytes = GOOD) -> bytes:
    """A file whose header was changed, with every hash and length made right again."""
    magic, version, length, _, _ = struct.unpack_from("<8sII32sQ", file)
    header = json.loads(file[56 : 56 + length])
    graph = file[56 + length : 56 + length + header["graph"]["bytes"]]
    weights = file[-header["weights"]["bytes"] :]
    change(header)
    text = json.dumps(header).encode()
    head = 56 + len(text) + len(graph)
    gap = -head % 64
    total = head + gap + len(weights)
    start = struct.pack(
        "<8sII32sQ", magic, version, len(text), hashlib.sha256(text).digest(), total
    )
    return start + text + graph + bytes(gap) + weights


def test_a_file_computes_what_the_model_does(target: Target) -> None:
    for data in (dense().SerializeToString(), models.build("branch"), models.build("twice")):
        file = file_of(data)
        ours, theirs = (compile_model(each, target) for each in (file, data))
        assert (ours.inputs, ours.outputs, ours.nodes) == (
            theirs.inputs,
            theirs.outputs,
            theirs.nodes,
        )
        assert (ours.weight_bytes, ours.steering) == (theirs.weight_bytes, theirs.steering)
    x = {"x": np.ones((2, 64), np.float32)}
    program = compile_model(GOOD, target)
    again = compile_model(dense().SerializeToString(), target)
    mine, other = program.run(x, ["z"]), again.run(x, ["z"])
    np.testing.assert_array_equal(mine.results["z"], other.results["z"])
    assert mine.cost == other.cost


def test_weights_lie_apart_at_multiples_of_64() -> None:
    header = vxp.header(memoryview(GOOD))
    ((name, kind, shape, at),) = header["weights"]["table"]
    assert (name, kind, shape, at) == ("w", 1, [64, 16], 0)
    assert (len(GOOD) - header["weights"]["bytes"]) % 64 == 0
    stored = np.frombuffer(GOOD[-4096:], np.float32)
    np.testing.assert_array_equal(stored, np.arange(1024, dtype=np.float32))
    assert header["inputs"] == ["x: float32[n, 64]"]
    assert header["target"] == {"kind": "npu", "card": "kcloud-1", "profile": "npu.1c.6g"}


@pytest.mark.parametrize("field", ["kind", "card", "profile"])
def test_another_target_is_refused_by_name(target: Target, field: str) -> None:
    here = replace(target, identity=replace(HERE, **{field: "other"}))
    with pytest.raises(Unsupported, match=f"'npu.1c.6g' of 'kcloud-1'.*other.*the {field} differs"):
        compile_model(GOOD, here)
    compile_model(GOOD, replace(target, identity=HERE))


def test_another_version_is_refused_by_name(target: Target) -> None:
    with pytest.raises(Unsupported, match="version 2, this vaccel reads version 1"):
        compile_model(GOOD[:8] + struct.pack("<I", 2) + GOOD[12:], target)


def test_a_file_cut_short_anywhere_is_refused(target: Target) -> None:
    for length in [*range(8, 60), *range(60, len(GOOD), 97), len(GOOD) - 1]:
        with pytest.raises(InvalidModel, match=r"cut short|not ONNX"):
            compile_model(GOOD[:length], target)
    with pytest.raises(InvalidModel, match="cut short"):
        compile_model(GOOD + b"\0", target)


@given(st.integers(8, len(GOOD) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_changed_byte_is_noticed(at: int, change: int) -> None:
    bad = bytearray(GOOD)
    bad[at] ^= change
    with (
        pytest.raises((InvalidModel, Unsupported), match=r"damaged|version"),
        vxp.opened(memoryview(bytes(bad)), None),
    ):
        pass


LIES: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("no graph", lambda h: h.pop("graph"), "graph"),
    ("no weights", lambda h: h["weights"]["table"].clear(), "'w'"),
    ("a weight twice", lambda h: h["weights"]["table"].append(h["weights"]["table"][0]), "'w'"),
    ("a weight of no one", lambda h: h["weights"]["table"][0].__setitem__(0, "v"), "'v'"),
    ("another type", lambda h: h["weights"]["table"][0].__setitem__(1, 6), "'w'"),
    ("no type", lambda h: h["weights"]["table"][0].__setitem__(1, "float"), "type"),
    ("another shape", lambda h: h["weights"]["table"][0].__setitem__(2, [1 << 40]), "'w'"),
    ("a negative shape", lambda h: h["weights"]["table"][0].__setitem__(2, [-1, -1]), "shape"),
    ("outside", lambda h: h["weights"]["table"][0].__setitem__(3, 1 << 50), "'w'"),
    ("before", lambda h: h["weights"]["table"][0].__setitem__(3, -64), "place"),
    ("a long graph", lambda h: h["graph"].__setitem__("bytes", 1 << 60), "sections"),
    ("a negative graph", lambda h: h["graph"].__setitem__("bytes", -1), "sections"),
    ("an endless graph", lambda h: h["graph"].__setitem__("bytes", float("inf")), "header"),
    ("many weights", lambda h: h["weights"].__setitem__("bytes", 1 << 60), "sections"),
    ("another hash", lambda h: h["weights"].__setitem__("sha256", "00"), "weights"),
    ("a table of nothing", lambda h: h["weights"].__setitem__("table", [None]), "header"),
]


@pytest.mark.parametrize(
    ("change", "word"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES]
)
def test_a_header_that_lies_is_refused(
    change: Callable[[dict[str, Any]], object], word: str, target: Target
) -> None:
    with pytest.raises(VaccelError, match=word) as caught:
        compile_model(rewritten(change), target)
    assert isinstance(caught.value, InvalidModel)
    assert str(caught.value).isprintable()


def test_a_header_is_bounded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "PROGRAM_HEADER_BYTES", 100)
    with pytest.raises(InvalidModel, match="header takes"):
        compile_model(GOOD, target)
    with pytest.raises(Exhausted, match="at most 100"):
        file_of(dense().SerializeToString())


def test_a_header_that_nests_without_end_is_refused(target: Target) -> None:
    text = b"[" * 500_000
    digest = hashlib.sha256(text).digest()
    start = struct.pack("<8sII32sQ", vxp.MAGIC, 1, len(text), digest, 56 + len(text))
    with pytest.raises(InvalidModel, match="no JSON"):
        compile_model(start + text, target)


def test_what_a_header_says_of_cost_and_signature_is_not_believed(target: Target) -> None:
    def lie(header: dict[str, Any]) -> None:
        header["plan"] = {"cycles": 0}
        header["inputs"], header["model"] = ["y: int8[]"], {"sha256": "a" * 64, "nodes": 0}

    x = {"x": np.ones((2, 64), np.float32)}
    told, true = (compile_model(each, target) for each in (rewritten(lie), GOOD))
    assert (told.inputs, told.nodes) == (true.inputs, true.nodes)
    assert told.run(x, ["z"]).cost == true.run(x, ["z"]).cost
    assert "a" * 16 not in told.sha256


def test_a_hostile_graph_in_a_file_is_refused_as_a_model_is(target: Target) -> None:
    made = dense()
    made.graph.node[0].op_type = "Frobnicate"
    graph = made.SerializeToString()
    header = {
        "target": {},
        "graph": {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()},
        "weights": {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest(), "table": []},
    }
    text = json.dumps(header).encode()
    head = 56 + len(text) + len(graph)
    gap = -head % 64
    digest = hashlib.sha256(text).digest()
    start = struct.pack("<8sII32sQ", vxp.MAGIC, 1, len(text), digest, head + gap)
    with pytest.raises(InvalidModel, match=r"'it' .Frobnicate."):
        compile_model(start + text + graph + bytes(gap), target)
