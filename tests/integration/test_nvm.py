"""An NVM card through a real daemon: cells outlive workers, age, change hands, and are watched."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

import vaccel
from host_daemon.devices.nvm.analog.cells import HEALTHY
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.nvm.store import WRITTEN, TileRecord
from host_daemon.devices.registry import find_card, load_card
from tests.integration.daemon_host import CONFIG, DaemonHost, alive
from vaccel.errors import Exhausted, InvalidArgument, Unsupported, VaccelError
from vaccel.inventory import VF

NVM = CONFIG + """
[[pf]]
name = "nvm0"
card = "hermes"
"""
DAY = 86_400.0
RNG = np.random.default_rng(7)
WEIGHTS = RNG.standard_normal((300, 200)).astype(np.float32)
INPUTS = RNG.standard_normal((32, 300)).astype(np.float32)


def product(weights: np.ndarray = WEIGHTS, **metadata: str) -> bytes:
    """y = x @ weights, with what its node says to the device."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    for key, value in metadata.items():
        node.metadata_props.add(key=f"vaccel.{key}", value=value)
    graph = helper.make_graph(
        [node],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weights.shape[1]])],
        initializer=[from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 21)]
    made: ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return made.SerializeToString()


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost(NVM) as made:
        yield made


@pytest.fixture
def vf(host: DaemonHost) -> Iterator[VF]:
    made = host.admin.create_vf("hermes.8t", pf="nvm0", name="analog")
    yield host.admin.attach_vf(made.id, local=True)
    host.admin.destroy_vf(made.id, force=True)


def run(vf: VF, model: bytes | None = None) -> tuple[np.ndarray, vaccel.model.Cost]:
    with vaccel.open(address=vf.socket, path="grpc") as device:
        outputs = device.load(model or product())(x=INPUTS)
        return outputs["y"], outputs.cost


def error(result: np.ndarray) -> float:
    exact = INPUTS @ WEIGHTS
    return float(np.sqrt(np.mean((result - exact) ** 2) / np.mean(exact**2)))


def condition(host: DaemonHost, name: str) -> float:
    return next(c.value for c in host.admin.vf("analog").conditions if c.name == name)


def settle(host: DaemonHost, vf: VF, before: VF) -> VF:
    """The VF once its worker has been replaced."""
    for _ in range(2000):
        now = host.admin.vf(vf.id)
        if now.epoch > before.epoch and now.worker_pid != before.worker_pid:
            return now
    raise AssertionError("the worker was not replaced")


def test_weights_are_on_tiles_and_outlive_their_worker(host: DaemonHost, vf: VF) -> None:
    first, cost = run(vf)
    assert 0.01 < error(first) < 0.2
    assert cost.nodes == {"tiles": 1}
    assert {"cells", "dac", "adc"} <= cost.joules.keys()
    written = condition(host, "write budget")
    joules = host.admin.vf(vf.id).usage.joules
    assert written > 0
    assert joules > cost.total_joules  # programming is metered too
    before = host.admin.vf(vf.id)
    os.kill(before.worker_pid, signal.SIGKILL)
    settle(host, vf, before)
    again, _ = run(vf)
    # The same cells, and the same chance from the beginning: the run repeats to the bit.
    assert np.array_equal(first, again)
    assert condition(host, "write budget") == written


def test_cells_age_and_are_recalibrated(host: DaemonHost, vf: VF) -> None:
    with vaccel.open(address=vf.socket, path="grpc") as device:
        model = device.load(product())
        fresh = error(model(x=INPUTS)["y"])
        pf = host.admin.advance_clock("nvm0", DAY)
        assert next(c.value for c in pf.conditions if c.name == "cell clock") >= DAY
        assert condition(host, "cell age") == DAY
        old = error(model(x=INPUTS)["y"])
        shown, cost = host.admin.recalibrate_vf(vf.id)
        assert cost.total_joules > 0
        assert cost.device_ns > 0
        mended = error(model(x=INPUTS)["y"])
        assert fresh < mended < old
        assert condition(host, "calibrated") == 0
        assert condition(host, "expected error") == pytest.approx(mended, rel=0.2)
        assert shown.conditions


def test_time_does_not_go_backwards(host: DaemonHost, vf: VF) -> None:
    for seconds in (-1.0, float("nan"), 1e30):
        with pytest.raises(InvalidArgument, match="clock"):
            host.admin.advance_clock("nvm0", seconds)
    with pytest.raises(Unsupported, match="npu0"):
        host.admin.advance_clock("npu0", 1.0)


def test_a_demanded_error_is_kept_or_refused(host: DaemonHost, vf: VF) -> None:
    with vaccel.open(address=vf.socket, path="grpc") as device:
        with pytest.raises(Unsupported, match=r"max_error = 0\.001, but this card reaches"):
            device.load(product(max_error="0.001"))
        with pytest.raises(InvalidArgument, match="max_error = 'soon'"):
            device.load(product(max_error="soon"))
        model = device.load(product(max_error="0.14"))
        assert error(model(x=INPUTS)["y"]) < 0.15
        host.admin.advance_clock("nvm0", 30 * DAY)
        outputs = model(x=INPUTS)
        assert error(outputs["y"]) < 0.15
        assert outputs.cost.joules["write"] > 0  # it was refreshed, and the launch says so


def test_a_program_is_held_to_its_error_as_it_ages(host: DaemonHost, vf: VF) -> None:
    """Recalibrated, then written anew, then refused with the numbers."""
    with vaccel.open(address=vf.socket, path="grpc") as device:
        with pytest.raises(Unsupported, match=r"max_error = 0\.001, but this card reaches 0\.\d+"):
            device.load(product(), max_error=0.001)
        for wrong in (0, -0.1, float("nan"), "much"):
            with pytest.raises(InvalidArgument, match="load: max_error is"):
                device.load(product(), max_error=wrong)  # type: ignore[arg-type]
        loose = device.load(product())
        model = device.load(product(), max_error=0.14)
        assert error(model(x=INPUTS)["y"]) < 0.15
        assert condition(host, "error demanded") < 1
        host.admin.advance_clock("nvm0", 60.0)
        mended = model(x=INPUTS)
        assert error(mended["y"]) < 0.15 and "write" not in mended.cost.joules
        assert mended.cost.joules["adc"] > 2 * loose(x=INPUTS).cost.joules["adc"]  # to measure it
        host.admin.advance_clock("nvm0", 30 * DAY)
        anew = model(x=INPUTS)
        assert error(anew["y"]) < 0.15 and anew.cost.joules["write"] > 0
        assert error(loose(x=INPUTS)["y"]) > 0.2  # who demands nothing drifts
        with worn_out(host, host.admin.vf("analog")):
            host.admin.advance_clock("nvm0", 300 * DAY)
            said = r"max_error = 0\.14, but this card reaches 0\.\d+ .*tile \d is worn out"
            with pytest.raises(Unsupported, match=said):
                model(x=INPUTS)
            assert host.admin.vf("analog").conditions[0].level == "fault"
        assert error(model(x=INPUTS)["y"]) < 0.15


@contextmanager
def worn_out(host: DaemonHost, vf: VF) -> Iterator[None]:
    """Let the metal say for a while that cells of a VF have seen their last write."""
    own = load_card(find_card("hermes")).parameters
    path = host.folder / "state/cells/nvm0.cells"
    with path.open("r+b") as file:
        cells = memoryview(mmap(file.fileno(), 0))
    records = [TileRecord.of(cells, core, own) for core in vf.cores]
    before = [record.get("worst") for record in records]
    for record in records:
        record.put(worst=own.tile.endurance)
    yield
    for record, worst in zip(records, before, strict=True):
        record.put(worst=worst)


def test_inputs_beyond_a_range_are_clipped_and_seen(host: DaemonHost, vf: VF) -> None:
    with vaccel.open(address=vf.socket, path="grpc") as device:
        fixed = device.load(product(input_limit="1.5"))
        assert error(fixed(x=INPUTS)["y"]) > 0.2
        assert condition(host, "inputs clipped") == np.count_nonzero(np.abs(INPUTS) > 1.5)
        assert "inputs clipped" in host.admin.vf("analog").conditions[0].note
        fixed.unload()
        calibrated = device.load(product(input_range="calibrated"))
        assert error(calibrated(x=INPUTS)["y"]) < 0.2
        assert condition(host, "input range") == pytest.approx(np.percentile(abs(INPUTS), 99.995))
        calibrated(x=INPUTS * 9)
        assert condition(host, "inputs clipped") > INPUTS.size / 2
        host.admin.recalibrate_vf(vf.id)
        assert error(calibrated(x=INPUTS * 9)["y"] / 9) < 0.2
        with pytest.raises(InvalidArgument, match="input_range = 'wide'"):
            device.load(product(input_range="wide"))


def test_bad_weights_are_named(host: DaemonHost, vf: VF) -> None:
    broken = WEIGHTS.copy()
    broken[3, 5] = np.nan
    with vaccel.open(address=vf.socket, path="grpc") as device:
        with pytest.raises(InvalidArgument, match=r"product.*\[3, 5\] = nan"):
            device.load(product(broken))
        large = device.load(product(np.ones((2048, 256), np.float32)))
        with pytest.raises(Exhausted, match=r"need 2 tiles.*of 8 here 8 hold weights in use"):
            device.load(product(arithmetic="analog"))
        spilled = device.load(product())
        outputs = spilled(x=INPUTS)
        assert outputs.cost.nodes == {"digital": 1} and error(outputs["y"]) < 1e-6
        assert condition(host, "products in digital") == 1
        spilled.unload()
        large.unload()
        spilled.unload()
        assert device.load(product())(x=INPUTS).cost.nodes == {"tiles": 1}
        device.load(product(weight_limit="1.0"))
        clipped = int(np.count_nonzero(np.abs(WEIGHTS) > 1))
        assert condition(host, "weights clipped") == clipped
        with pytest.raises(InvalidArgument, match="not finite"):
            device.load(product())(x=np.full((1, 300), np.inf, np.float32))


def test_cells_are_erased_when_they_change_hands(host: DaemonHost) -> None:
    made = host.admin.create_vf("hermes.8t", pf="nvm0", name="first", tenant="alice")
    first = host.admin.attach_vf(made.id, local=True)
    run(first)
    own = load_card(find_card("hermes")).parameters
    path = host.folder / "state/cells/nvm0.cells"
    data = memoryview(path.read_bytes())
    written = [
        core for core in first.cores if TileRecord.of(data, core, own).get("state") == WRITTEN
    ]
    assert len(written) == 2
    # The weights as they were meant, in cells that obey: a stuck one is the same for everybody.
    obey = cells(path, own, written, "stuck") == HEALTHY
    old = cells(path, own, written, "target")[obey]
    assert old.std() > 1
    host.admin.destroy_vf(first.id, force=True)
    new = cells(path, own, written, "conductance")[obey]
    assert abs(float(np.corrcoef(old, new)[0, 1])) < 0.01
    assert np.percentile(new, 99.9) < own.tile.preset.span / 8
    raw = path.read_bytes()
    assert WEIGHTS.tobytes()[:64] not in raw
    pf = next(pf for pf in host.admin.pfs() if pf.name == "nvm0")
    assert next(c.value for c in pf.conditions if c.name == "rows written by alice") == 300


def cells(path: Path, own: NvmParameters, cores: Sequence[int], field: str) -> np.ndarray:
    data = memoryview(path.read_bytes())
    records = [TileRecord.of(data, core, own) for core in cores]
    return np.concatenate([record.record[field][0].ravel() for record in records])


def test_another_cards_cells_are_refused(host: DaemonHost) -> None:
    host.stop()
    config = host.config.read_text()
    try:
        host.config.write_text(config.replace('"hermes"', '"kcloud-3"'))
        other = host.spawn()
        assert other.wait(30) != 0
        assert "card = 'hermes', but this card has 'kcloud-3'" in host.log
    finally:
        host.config.write_text(config)
        host.start()
    assert all(alive(pid) for pid in host.workers())
    with pytest.raises(VaccelError):
        host.admin.vf("analog")
