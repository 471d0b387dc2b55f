"""A demand on a whole program: that of each of its nodes on tiles which states none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from host_daemon.compiler import frontend, vxp
from host_daemon.compiler.program import Target, compile_model
from host_daemon.core.device import MAX_ERROR
from host_daemon.devices import registry
from host_daemon.devices.nvm.device import NvmDevice
from vaccel.errors import InvalidArgument, Unsupported

from .conftest import Rig, error, value
from .test_placement import FIRST, SECOND, X, two

HERE = vxp.Identity("nvm", "kcloud-3", "nvm.16t.512m")
EXACT = np.maximum(X @ FIRST, 0) @ SECOND


def target(device: NvmDevice, scratch: Path) -> Target:
    return Target(device, 1, scratch, identity=HERE)


def demands(device: NvmDevice) -> dict[str, float | None]:
    found = device._residents.values()
    return {each.name.rpartition("/")[2]: each.most_error for each in found}


def test_every_node_is_held_to_it_but_those_that_say_more(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    device = rig().device()
    data = two(max_error="0.3").SerializeToString()
    program = compile_model(data, target(device, tmp_path), max_error=0.2)
    assert demands(device) == {"first": 0.2, "second": 0.3}
    assert error(program.run({"x": X}, ["y"]).results["y"], EXACT) < 0.3
    program.close()
    plain = compile_model(data, target(device, tmp_path))
    assert demands(device) == {"first": None, "second": 0.3}
    assert plain.sha256 == program.sha256  # of the model's bytes, whatever is asked of it


def test_programs_of_other_demands_do_not_share(rig: Callable[..., Rig], tmp_path: Path) -> None:
    device, data = rig().device(), two().SerializeToString()
    loose = compile_model(data, target(device, tmp_path), max_error=0.5)
    assert demands(device) == {"first": 0.5, "second": 0.5}
    loose.close()
    compile_model(data, target(device, tmp_path), max_error=0.25)
    assert demands(device) == {"first": 0.25, "second": 0.25}
    # The same cells: the weights were not written twice.
    assert value(device, "rows written") == 4 * 256


def test_it_is_refused_with_the_numbers(rig: Callable[..., Rig], tmp_path: Path) -> None:
    device = rig().device()
    with pytest.raises(Unsupported, match=r"max_error = 0\.01, but this card reaches 0\.\d+ \(f"):
        compile_model(two().SerializeToString(), target(device, tmp_path), max_error=0.01)
    assert device.tiles_in_use == 0


def test_drift_that_breaks_it_is_mended(rig: Callable[..., Rig], tmp_path: Path) -> None:
    device = rig().device()
    program = compile_model(two().SerializeToString(), target(device, tmp_path), max_error=0.15)
    assert error(program.run({"x": X}, ["y"]).results["y"], EXACT) < 0.25
    assert "write" not in device.upkeep().joules
    device.set_clock(60.0)
    program.run({"x": X}, ["y"])
    assert "write" not in device.upkeep().joules  # recalibrated
    device.set_clock(1e8)
    assert error(program.run({"x": X}, ["y"]).results["y"], EXACT) < 0.25
    assert device.upkeep().joules["write"] > 0  # refreshed
    for record in device._tiles.all:
        record.put(worst=record.tile.endurance)
    device.set_clock(3e8)
    said = r"max_error = 0\.15, but this card reaches 0\.\d+ .*written anew: tile \d is worn out"
    with pytest.raises(Unsupported, match=said):
        program.run({"x": X}, ["y"])


def test_a_program_file_keeps_it_unless_the_load_says_more(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    model = frontend.read(memoryview(two().SerializeToString()))
    file = b"".join(vxp.write(model, HERE, {}, "", 0.2))
    for asked, wanted in ((0.0, 0.2), (0.4, 0.4)):
        device = rig().device()
        compile_model(file, target(device, tmp_path), max_error=asked)
        assert demands(device) == {"first": wanted, "second": wanted}


def test_it_is_met_where_nothing_is_analog(tmp_path: Path) -> None:
    card = registry.load_card(registry.find_card("kcloud-1"))
    npu = Target(registry.model(card, card.profiles[0]), 1, tmp_path)
    model: ModelProto = two()
    data = model.SerializeToString()
    program = compile_model(data, npu, max_error=1e-9)
    assert error(program.run({"x": X}, ["y"]).results["y"], EXACT) < 1e-5
    assert all(MAX_ERROR not in info.attributes for info in program.analysis.nodes.values())
    for short in ("bf16", "int8"):
        with pytest.raises(Unsupported, match=f"'{short}' with max_error = 0.1: this card does"):
            compile_model(data, npu, arithmetic=short, max_error=0.1)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_what_is_no_error_is_refused(
    rig: Callable[..., Rig], tmp_path: Path, wrong: float
) -> None:
    with pytest.raises(InvalidArgument, match="max_error = "):
        compile_model(
            two().SerializeToString(), target(rig().device(), tmp_path), max_error=wrong
        )
