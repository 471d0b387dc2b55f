"""The page on PIM shows what its script computes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[5] / "docs" / "devices"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("decode_step", FOLDER / "decode_step.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_numbers_and_the_picture(script: ModuleType) -> None:
    devices, steps = script.compute()
    page = (FOLDER / "pim.md").read_text()
    assert script.one_product(devices) in page
    assert script.tables(steps["npu"], steps["npu-pim"]) in page
    card, _ = script.both()
    assert script.draw(card, devices, steps) == (FOLDER / "decode_step.svg").read_text()


def test_products_with_weights_run_in_the_banks_and_all_else_on_the_npu(
    script: ModuleType,
) -> None:
    _, steps = script.compute()
    for name, node in steps["npu-pim"].nodes:
        assert (node.place == "banks") == (name in ("q, k, v", "output", "gate, up", "down"))
    npu, mixed = steps["npu"], steps["npu-pim"]
    assert npu.seconds > 2 * mixed.seconds
    assert npu.cost.total_joules > 2 * mixed.cost.total_joules
    # Nothing else differs: what runs on the NPU costs the same.
    for (name, before), (_, after) in zip(npu.nodes, mixed.nodes, strict=True):
        assert after.place == "banks" or before == after, name
