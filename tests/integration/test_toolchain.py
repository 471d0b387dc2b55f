"""Compiling and explaining without a VF, and what comes of it on one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

import vaccel
from host_daemon.compiler import vxp
from tests.conformance import models
from tests.conformance.models import F32, graph, value
from tests.integration.daemon_host import PROFILE, DaemonHost
from vaccel import toolchain
from vaccel.cli.explained_page import page
from vaccel.errors import InvalidArgument, InvalidModel, NotFound, Unsupported
from vaccel.toolchain import Request

EVIL = "</script><img src=x onerror=alert(1)>&"


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """y[n, 16] = Relu(x[n, 64] @ w): its weights lie apart."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
        helper.make_node("Relu", ["p"], ["y"], name=EVIL),
    ]
    weight = from_array(np.arange(1024, dtype=np.float32).reshape(64, 16) / 512, "w")
    inputs, outputs = [value("x", F32, ["n", 64])], [value("y", F32, ["n", 16])]
    path = tmp_path / "model.onnx"
    path.write_bytes(models.model(graph(nodes, inputs, outputs, [weight])).SerializeToString())
    return path


def vaccelctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "vaccelctl", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_compiled_file_computes_and_costs_as_its_model(host: DaemonHost, file: Path) -> None:
    out = file.with_suffix(".vxp")
    done = vaccelctl(
        "compile", str(file), "--profile", PROFILE, "-o", str(out), "--dim", "n=5",
        "--explain", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["bytes"] == out.stat().st_size and told["card"] == "kcloud-1"
    x = np.random.default_rng(1).standard_normal((5, 64), np.float32)
    with host.vf("files") as vf, vaccel.open(address=vf.socket) as device:
        ours, theirs = device.load(out), device.load(file)
        assert ours.inputs == theirs.inputs
        mine, other = ours(x), theirs(x)
        np.testing.assert_array_equal(mine["y"], other["y"])
        assert mine.cost.cycles == other.cost.cycles
        # What was explained without a VF is what a VF charges, to the cycle.
        total = told["explain"]["total"]
        assert total["critical_cycles"] == mine.cost.critical_cycles
        assert total["bytes"] == dict(mine.cost.bytes)
        assert total["joules"] == pytest.approx(mine.cost.total_joules)
    large = host.admin.create_vf("npu.2c.12g")
    large = host.admin.attach_vf(large.id, local=True)
    with vaccel.open(address=large.socket) as device:
        with pytest.raises(Unsupported, match=r"npu.1c.6g.*the profile differs"):
            device.load(out)
        assert device.load(file)(x)["y"].shape == (5, 16)
    host.admin.destroy_vf(large.id, force=True)


def test_an_explanation_adds_up(file: Path) -> None:
    told = toolchain.compile_model(file, Request(PROFILE), file=False, explain=True).explanation
    product, relu = told["nodes"]
    assert (product["place"], relu["place"]) == ("array", "vector")
    assert product["macs"] == 64 * 16 and relu["takes"] == ["product"]
    assert relu["start_cycle"] == product["critical_cycles"]
    assert (product["fused_into"], relu["fused_into"]) == ("", "product")
    assert product["why"].endswith(f"with {relu['name']} fused into it")
    assert relu["why"].startswith("fused into product:") and "dram" not in relu["bytes"]
    total = told["total"]
    for key in ("dram", "sram"):
        assert total["bytes"][key] == sum(row["bytes"].get(key, 0) for row in told["nodes"])
    assert 0 < product["roofline"]["of_roof"] <= 1
    assert product["roofline"]["side"] == "memory"  # a row by a matrix
    for row in told["nodes"]:
        assert all(0 <= share <= 1 for share in row["utilisation"].values())
    # x, w and p; then p and y: the product holds the most.
    memory = told["memory"]
    assert memory["peak_bytes"] == 4 * (64 + 1024 + 16)
    assert memory["weight_bytes"] == 4096 and memory["unknown_values"] == 0


def test_what_runs_in_banks_and_what_at_the_host_is_explained(tmp_path: Path) -> None:
    weights = from_array(np.zeros((1024, 4096), np.float16), "w")
    half, rows = TensorProto.FLOAT16, (1, 64)
    nodes = [helper.make_node("MatMul", [f"x{n}", "w"], [f"y{n}"], name=f"of {n}") for n in rows]
    inputs = [value(f"x{n}", half, [n, 1024]) for n in rows]
    outputs = [value(f"y{n}", half, [n, 4096]) for n in rows]
    file = tmp_path / "products.onnx"
    file.write_bytes(models.model(graph(nodes, inputs, outputs, [weights])).SerializeToString())
    request = Request("pim.16c.6g")
    told = toolchain.compile_model(file, request, file=False, explain=True).explanation
    named = {row["name"]: row for row in told["nodes"]}
    one, many = named["of 1"], named["of 64"]
    assert (one["place"], many["place"]) == ("banks", "host")
    assert one["why"].endswith("gemv of 8 tiles, 4 rounds a channel")
    assert one["cycles"]["banks"] == 13389 and {"host", "bus"} < one["cycles"].keys()
    assert 0.5 < one["roofline"]["of_roof"] <= 1  # of what banks attain, not the host
    assert many["why"].startswith("the host's")


def test_a_page_holds_no_markup_of_a_model(file: Path) -> None:
    told = toolchain.compile_model(file, Request(PROFILE), file=False, explain=True).explanation
    assert any("onerror" in row["name"] for row in told["nodes"])
    text = page(told, EVIL)
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", text)
    assert "default-src 'none'" in text and "innerHTML" not in text
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None and json.loads(data[1]) == json.loads(json.dumps(told))


def test_what_cannot_be_compiled_is_said(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(file.read_bytes()[:-100])
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    cases = (
        (broken, Request(PROFILE), InvalidModel, "truncated"),
        (empty, Request(PROFILE), InvalidModel, "empty"),
        (tmp_path / "none.onnx", Request(PROFILE), InvalidArgument, "none.onnx"),
        (file, Request("npu.9c.1g"), NotFound, "npu.9c.1g"),
        (file, Request(PROFILE, card="atom"), NotFound, PROFILE),
        (file, Request(PROFILE, shapes={"x": [1, 9]}), InvalidArgument, "axis 1 must be 64, not 9"),
        (file, Request(PROFILE, symbols={"m": 9}), InvalidArgument, "no symbol 'm'.*symbols: n"),
    )
    for path, request, kind, words in cases:
        with pytest.raises(kind, match=words):
            toolchain.compile_model(path, request, file=True, explain=True)
    done = vaccelctl("explain", str(file), "--profile", PROFILE, "--dim", "n=two")
    assert done.returncode == 2 and "'two'" in done.stderr


def test_a_demanded_error_is_of_the_file(file: Path) -> None:
    analog = ("--profile", "hermes.8t", "--max-error")
    for command in ("compile", "explain"):
        done = vaccelctl(command, str(file), *analog, "0.001")
        said = r"max_error = 0\.001, but this card\s+reaches 0\.\d+"
        assert done.returncode == Unsupported.exit_code and re.search(said, done.stderr)
        done = vaccelctl(command, str(file), *analog, "-1")
        assert done.returncode == InvalidArgument.exit_code and "--max-error is -1" in done.stderr
    assert not file.with_suffix(".vxp").exists()
    done = vaccelctl("compile", str(file), *analog, "0.3")
    assert done.returncode == 0, done.stderr
    data = memoryview(file.with_suffix(".vxp").read_bytes())
    assert vxp.asked(data, "", 0.0) == ("", 0.3)
    assert vxp.asked(data, "", 0.5) == ("", 0.5)


def test_values_that_steer_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "branch.onnx"
    path.write_bytes(models.build("branch"))
    ask = Request(PROFILE, symbols={"n": 4})
    with pytest.raises(InvalidArgument, match="flag"):
        toolchain.compile_model(path, ask, file=False, explain=True)
    for flag, op in ((True, "MatMul"), (False, "Identity")):
        ask = Request(PROFILE, symbols={"n": 4}, values={"flag": flag})
        told = toolchain.compile_model(path, ask, file=False, explain=True).explanation
        assert [row["op"] for row in told["nodes"]] == [op]
        assert {row["op"] for row in told["left_out"]} == {"If", "MatMul", "Identity"} - {op}
    assert toolchain.compile_model(path, Request(PROFILE), file=True, explain=False).file
