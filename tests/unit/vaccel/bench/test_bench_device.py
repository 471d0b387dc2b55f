from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from host_daemon.core.device import ARITHMETIC, Card, DeviceModel, Operation
from host_daemon.devices.registry import cards, find_card, load_card, model
from vaccel.bench import device_probes
from vaccel.bench.device import Result, measure
from vaccel.cli.device_table import show
from vaccel.cli.render import plain
from vaccel.errors import Exhausted
from vaccel.model import Cost, DType

CARDS = [card for card in (load_card(find_card(name)) for name in cards()) if card.kind == "npu"]
F32 = DType.FLOAT32


class ModelProbes:
    """Asks a model itself, without a daemon between."""

    def __init__(self, device: DeviceModel, most: int = 1 << 20) -> None:
        self.device = device
        self.most = most
        self.asked = 0

    def _cost(self, operation: Operation, count: int = 1) -> Cost:
        return self.device.launch_cost([self.device.cost(operation)] * count)

    def product(self, arithmetic: str, side: int) -> Cost:
        if side > self.most:
            raise Exhausted("too large")
        kind = DType.INT8 if arithmetic.startswith("int") else F32
        spec = (kind, (side, side))
        attributes = {} if arithmetic == "fp32" else {ARITHMETIC: arithmetic}
        return self._cost(Operation("MatMul", (spec, spec), (spec,), attributes))

    def stream(self, elements: int) -> Cost:
        return self._cost(Operation("Relu", ((F32, (elements,)),), ((F32, (elements,)),)))

    def transposition(self, elements: int) -> Cost:
        return self._cost(Operation("Transpose", ((F32, (elements,)),), ((F32, (elements,)),)))

    def chain(self, nodes: int) -> Cost:
        return self._cost(Operation("Identity", ((F32, (4,)),), ((F32, (4,)),)), nodes)

    def idle(self) -> tuple[float, float]:
        self.asked += 1
        return 2.0 * self.asked * self.device.idle_watts, 2.0 * self.asked


def quiet(step: str, fraction: float) -> None:
    pass


def whole(card: Card) -> DeviceModel:
    return model(card, max(card.profiles, key=lambda profile: profile.cores))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_card_reproduces_its_figures(card: Card) -> None:
    rows = list(measure(ModelProbes(whole(card)), card.figures, card.clock_hz, quiet))
    assert {row.quantity for row in rows if row.met is not None} == {
        figure.name for figure in card.figures if figure.name not in ("cores", "clock", "memory")
    }
    assert [row for row in rows if row.met is False] == []
    published = {row.quantity for row in rows if row.published}
    own = card.parameters
    assert published >= {f"peak {name}" for name in own.published_peaks}
    assert all(row.unverified for row in rows if "from memory" in row.source)


def test_a_figure_that_is_missed_is_seen(capsys) -> None:
    card = load_card(find_card("rngd"))
    figures = [
        replace(each, published=each.published * 1.03) if each.name == "peak bf16" else each
        for each in card.figures
    ]
    rows = tuple(measure(ModelProbes(whole(card)), figures, card.clock_hz, quiet))
    (missed,) = (row for row in rows if row.met is False)
    assert missed.quantity == "peak bf16"
    assert missed.error_pct == pytest.approx(-2.9, abs=0.1)
    result = Result("device", "local", {}, {}, "rngd", "rngd.8c.48g", rows)
    assert not result.met
    assert plain(result)["rows"][0]["quantity"] == "launch overhead"
    show(result)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "peak bf16 256 TOP/s 263.7 TOP/s published -2.91 % no [2]" in lines
    assert any(line.startswith("[2] https://developer.furiosa.ai") for line in lines)


def test_a_small_card_is_measured_by_what_fits() -> None:
    card = load_card(find_card("rngd"))
    rows = list(measure(ModelProbes(whole(card), 4096), card.figures, card.clock_hz, quiet))
    assert "peak bf16" in {row.quantity for row in rows}


def test_the_models_that_are_asked_are_valid() -> None:
    for built in (device_probes.one_node("Relu", 1 << 9), device_probes.chained("Identity", 2, 4)):
        onnx.checker.check_model(onnx.load_from_string(built), full_check=True)
