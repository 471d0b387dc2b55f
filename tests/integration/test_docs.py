"""The Python in the documents runs: every ``python`` block, in order, one program per document."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from tests.integration.daemon_host import DaemonHost

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/install.md", "docs/sdk.md", "docs/api.md", "docs/kernels.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a reader is expected to have: the documents say so.
GIVEN = "import numpy as np; array = np.ones((2, 4), np.float32)"
SECONDS = 60


def program(path: Path) -> str:
    """All blocks of a document, each on the lines where it stands: tracebacks point there."""
    text = path.read_text()
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    assert any(lines), f"{path.name} has no python"
    lines[0] = GIVEN
    return "\n".join(lines)


def model() -> bytes:
    """output[batch, 3] = Relu(input[batch, 4] @ weight), as the documents say."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "weight"], ["product"], name="product"),
            helper.make_node("Relu", ["product"], ["output"], name="positive"),
        ],
        "main",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])],
        initializer=[from_array(weight, "weight")],
    )
    opsets = [helper.make_opsetid("", 18)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return made


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_run(host: DaemonHost, tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(model())
    script = tmp_path / Path(name).name
    script.write_text(program(ROOT / name))
    with host.vf("docs") as vf:
        address = {"VACCELD_ADDRESS": vf.socket, "VACCELCTL_ADDRESS": f"unix:{host.control}"}
        done = subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **address},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
