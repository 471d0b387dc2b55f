"""What every kind of card must keep. A kind's own test file subclasses and names a card file.

class TestMine(DeviceConformance):
    card_file = find_card("mine")
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from host_daemon.core.device import Card, DeviceModel, Operation
from host_daemon.devices.registry import find_kind, load_card, model
from host_daemon.devices.state import pack
from vaccel import bounds
from vaccel.errors import InvalidArgument
from vaccel.ids import is_name
from vaccel.model import DType, Profile

F32, I8, I64 = DType.FLOAT32, DType.INT8, DType.INT64

OPERATIONS = [
    Operation("MatMul", ((F32, (8, 64)), (F32, (64, 16))), ((F32, (8, 16)),)),
    Operation("MatMul", ((F32, (2, 3, 8, 64)), (F32, (2, 3, 64, 16))), ((F32, (2, 3, 8, 16)),)),
    Operation("Gemm", ((F32, (8, 64)), (F32, (16, 64))), ((F32, (8, 16)),), {"transB": 1}),
    Operation("Conv", ((F32, (1, 3, 9)), (F32, (4, 3, 3))), ((F32, (1, 4, 7)),)),
    Operation("Conv", ((F32, (1, 3, 9, 9)), (F32, (4, 3, 3, 3))), ((F32, (1, 4, 7, 7)),)),
    Operation(
        "Conv", ((F32, (1, 8, 9, 9)), (F32, (8, 1, 3, 3))), ((F32, (1, 8, 7, 7)),), {"group": 8}
    ),
    Operation("ConvTranspose", ((F32, (1, 3, 9)), (F32, (3, 4, 3))), ((F32, (1, 4, 11)),)),
    Operation("LSTM", ((F32, (5, 1, 8)), (F32, (1, 16, 8)), (F32, (1, 16, 4))), (None,)),
    Operation("MatMulInteger", ((I8, (4, 8)), (I8, (8, 3))), ((DType.INT32, (4, 3)),)),
    Operation("MatMul", ((I64, (4, 8)), (I64, (8, 3))), ((I64, (4, 3)),)),
    Operation("Softmax", ((F32, (4, 8)),), ((F32, (4, 8)),)),
    Operation("TopK", ((F32, (4, 8)), (I64, (1,))), ((F32, (4, 2)), (I64, (4, 2)))),
    Operation("Reshape", ((F32, (4, 8)), (I64, (1,))), ((F32, (32,)),)),
    Operation("StringNormalizer", ((DType.STRING, (3,)),), ((DType.STRING, (3,)),)),
    Operation("NeverHeardOf", ((F32, (4, 8)),), ((F32, (4, 8)),), domain="com.example"),
    Operation("MatMul", ((F32, (0, 64)), (F32, (64, 16))), ((F32, (0, 16)),)),
    Operation("Constant", (), ((F32, ()),)),
]


def _name(operation: Operation) -> str:
    return f"{operation.op}-{operation.inputs[0][1] if operation.inputs else ()}".replace(" ", "")


class DeviceConformance:
    """The suite. ``card_file`` is a valid card of the kind under test."""

    card_file: ClassVar[Path]
    places: ClassVar[tuple[str, ...]] = ("array", "vector", "banks", "host")

    @pytest.fixture
    def card(self) -> Card:
        return load_card(self.card_file)

    @pytest.fixture
    def table(self) -> dict[str, Any]:
        return tomllib.loads(self.card_file.read_text())

    @pytest.fixture
    def device(self, card: Card) -> Iterator[DeviceModel]:
        yield model(card, card.profiles[0])

    def test_a_card_describes_itself(self, card: Card) -> None:
        assert is_name(card.name)
        assert card.vendor
        assert card.source
        assert card.cores > 0
        assert card.clock_hz > 0
        assert card.memory_bytes > 0
        assert card.bandwidth_bytes_per_second > 0
        assert card.arithmetic

    def test_profiles_are_shares_of_the_card(self, card: Card) -> None:
        assert len({profile.name for profile in card.profiles}) == len(card.profiles) > 0
        for profile in card.profiles:
            assert profile.kind == card.kind
            assert 0 < profile.cores <= card.cores
            assert 0 < profile.memory_bytes <= card.memory_bytes
            assert 0 < profile.bandwidth_bytes_per_second <= card.bandwidth_bytes_per_second
            assert profile.window_bytes & (profile.window_bytes - 1) == 0

    def test_an_unknown_key_is_refused_by_name(self, table: dict[str, Any], card: Card) -> None:
        with pytest.raises(InvalidArgument, match="wheels"):
            find_kind(card.kind).card(table | {"wheels": 4}, "a.toml")

    def test_a_value_without_unit_is_refused_by_name(
        self, table: dict[str, Any], card: Card
    ) -> None:
        clock = table["card"]["clock"] | {"value": "1"}
        broken = table | {"card": table["card"] | {"clock": clock}}
        with pytest.raises(InvalidArgument, match=r"card.clock.*'1'.*GHz"):
            find_kind(card.kind).card(broken, "a.toml")

    def test_a_profile_of_another_card_is_refused(self, card: Card) -> None:
        strange = Profile("no.such", card.kind, 1, 1, 1, 1 << 20)
        with pytest.raises(InvalidArgument, match=r"no\.such"):
            model(card, strange)

    @pytest.mark.parametrize("operation", OPERATIONS, ids=_name)
    def test_every_operation_has_a_cost(self, device: DeviceModel, operation: Operation) -> None:
        cost = device.cost(operation)
        assert cost.place in self.places
        assert all(value >= 0 for value in cost.cycles.values())
        assert all(value >= 0 for value in cost.bytes.values())
        assert all(value >= 0 for value in cost.joules.values())
        assert cost.critical_cycles >= 0

    @pytest.mark.parametrize("operation", OPERATIONS, ids=_name)
    def test_a_cost_depends_on_its_arguments_only(self, card: Card, operation: Operation) -> None:
        one, other = (model(card, card.profiles[0]) for _ in range(2))
        first = one.cost(operation)
        for each in OPERATIONS:
            one.cost(each)
        assert one.cost(operation) == first == other.cost(operation)

    def test_useful_macs_are_counted(self, device: DeviceModel) -> None:
        assert device.cost(OPERATIONS[0]).macs == 8 * 64 * 16

    def test_more_work_never_costs_less(self, device: DeviceModel) -> None:
        before = 0
        for size in (1, 8, 64, 512, 4096):
            shapes = ((F32, (size, 256)), (F32, (256, 256)))
            now = device.cost(Operation("MatMul", shapes, ((F32, (size, 256)),))).critical_cycles
            assert now >= before
            before = now

    def test_shapes_that_do_not_fit_are_refused(self, device: DeviceModel) -> None:
        wrong = Operation("MatMul", ((F32, (2, 3)), (F32, (4, 5))), ((F32, (2, 5)),))
        with pytest.raises(InvalidArgument, match="MatMul"):
            device.cost(wrong)

    def test_a_launch_is_its_nodes_and_its_overhead(self, device: DeviceModel) -> None:
        nodes = [device.cost(operation) for operation in OPERATIONS]
        launch = device.launch_cost(nodes)
        nothing = device.launch_cost([])
        total = sum(node.critical_cycles for node in nodes)
        assert launch.critical_cycles == total + nothing.critical_cycles
        assert sum(launch.nodes.values()) == len(nodes)
        assert launch.total_joules > nothing.total_joules > 0
        assert launch.joules["static"] > nothing.joules["static"]
        seconds = launch.critical_cycles / device.clock_hz
        assert launch.device_ns == pytest.approx(seconds * 1e9, abs=1)

    def test_idle_cores_draw_power_and_no_more_than_busy_ones(self, device: DeviceModel) -> None:
        launch = device.launch_cost([device.cost(OPERATIONS[0])])
        busy = launch.total_joules / (launch.critical_cycles / device.clock_hz)
        assert 0 <= device.idle_watts <= busy * (1 + 1e-9)

    def test_figures_name_their_sources(self, card: Card) -> None:
        assert len({figure.name for figure in card.figures}) == len(card.figures)
        for figure in card.figures:
            assert figure.value >= 0, figure.name
            assert figure.unit in ("OP/s", "B/s", "W", "J", "s", "Hz", "B", "ohm", ""), figure.name
            assert figure.source, figure.name

    def test_a_state_comes_back(self, card: Card, device: DeviceModel) -> None:
        before = [device.cost(operation) for operation in OPERATIONS]
        saved = device.save()
        assert len(saved) <= bounds.DEVICE_STATE_BYTES
        other = model(card, card.profiles[0])
        other.restore(saved)
        assert [other.cost(operation) for operation in OPERATIONS] == before
        assert other.save() == saved

    def test_the_state_of_another_card_is_refused_by_name(
        self, card: Card, device: DeviceModel
    ) -> None:
        saved = device.save()
        for what, stranger in (
            ("card = 'other-card'", replace(card, name="other-card")),
            ("kind = 'other-kind'", replace(card, kind="other-kind")),
        ):
            with pytest.raises(InvalidArgument, match=what):
                device.restore(pack(stranger, card.profiles[0]))
        smaller = replace(card.profiles[0], memory_bytes=1 << 20)
        with pytest.raises(InvalidArgument, match=r"memory_bytes = '1048576'"):
            device.restore(pack(card, smaller))
        assert device.save() == saved

    def test_a_broken_state_is_refused(self, device: DeviceModel) -> None:
        saved = device.save()
        flipped = saved[:-40] + bytes([saved[-40] ^ 1]) + saved[-39:]
        newer = saved[:8] + b"\x02" + saved[9:]
        for broken, what in (
            (b"", "magic"),
            (b"PK\3\4" + saved[4:], "magic"),
            (newer, "version = 2"),
            (saved[:-1], "add up"),
            (saved + b"\0", "add up"),
            (flipped, "SHA-256"),
        ):
            with pytest.raises(InvalidArgument, match=what):
                device.restore(broken)
        assert device.save() == saved

    def test_its_own_arithmetic_is_exact_or_left_to_the_kernels(self, device: DeviceModel) -> None:
        random = np.random.default_rng(1)
        a = random.integers(-128, 128, (5, 300), dtype=np.int8)
        b = random.integers(-128, 128, (300, 7), dtype=np.int8)
        given = Operation("MatMulInteger", ((I8, a.shape), (I8, b.shape)), (None,))
        result = device.run(given, [a, b])
        if result is not None:
            assert np.array_equal(result[0], a.astype(np.int32) @ b.astype(np.int32))
        relu = Operation("Relu", ((F32, (3,)),), ((F32, (3,)),))
        assert device.run(relu, [np.zeros(3, np.float32)]) is None
