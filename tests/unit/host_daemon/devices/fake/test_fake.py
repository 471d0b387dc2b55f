from __future__ import annotations

import multiprocessing
import signal

import numpy as np
import pytest

from host_daemon.core.device import DeviceModel, Operation
from host_daemon.devices.registry import find_card, model, parse_card
from tests.conformance.device import DeviceConformance
from vaccel.errors import DeviceLost, InvalidArgument, Unsupported
from vaccel.model import DType

RELU = Operation("Relu", ((DType.FLOAT32, (2,)),), ((DType.FLOAT32, (2,)),))
ONES = np.ones(2, np.float32)


class TestFake1(DeviceConformance):
    card_file = find_card("fake-1")


def device(fault: str, ops: str = '["Relu"]') -> DeviceModel:
    text = find_card("fake-1").read_text()
    card = parse_card(text.replace(f"\n{fault} = []", f"\n{fault} = {ops}"), "fake.toml")
    return model(card, card.profiles[0])


def test_faults_strike_what_they_name_only() -> None:
    with pytest.raises(Unsupported, match="Relu"):
        device("refuse").cost(RELU)
    with pytest.raises(DeviceLost, match="Relu"):
        device("lose").run(RELU, [ONES])
    with pytest.raises(DeviceLost, match="Relu"):
        device("lose", '["*"]').run(RELU, [ONES])
    assert device("lose", '["Add"]').run(RELU, [ONES]) is None
    assert device("hang").run(RELU, [ONES]) is None


def test_a_corrupt_result_has_the_right_shape() -> None:
    result = device("corrupt").run(RELU, [ONES])
    assert result is not None
    assert np.array_equal(result[0], np.zeros(2, np.float32))


def test_a_crash_ends_the_process() -> None:
    child = multiprocessing.get_context("fork").Process(
        target=device("crash").run, args=(RELU, [ONES])
    )
    child.start()
    child.join(10)
    assert child.exitcode == -signal.SIGKILL


def test_a_switch_that_is_no_list_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"faults\.lose.*3"):
        device("lose", "[3]")
