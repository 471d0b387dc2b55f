"""Every function of ``vaccel.ops``: its example runs on a real worker, its help says it all."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vaccel
from host_daemon.compiler.program import Target
from host_daemon.devices.registry import find_card, load_card, model
from tests.integration.daemon_host import PROFILE, DaemonHost
from tests.unit.host_daemon.compiler.kernels import cases
from vaccel import ops
from vaccel.errors import Exhausted, InvalidArgument, NotFound, Unsupported
from vaccel.kernels import KERNELS
from vaccel.model import DType, Port


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as made:
        yield made


@pytest.fixture(scope="module")
def device(host: DaemonHost) -> Iterator[vaccel.Device]:
    with host.vf("ops") as vf, vaccel.open(address=vf.socket) as opened:
        yield opened


@pytest.fixture(scope="module")
def npu(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """What the daemon's VFs are made of."""
    card = load_card(find_card("kcloud-1"))
    profile = next(each for each in card.profiles if each.name == PROFILE)
    return Target(model(card, profile), 1, tmp_path_factory.mktemp("scratch"))


def test_every_example_runs(device: vaccel.Device) -> None:
    known = {"device": device, "np": np, "ops": ops}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    for kernel in ops.kernels():
        text = getattr(ops, kernel.name).__doc__
        found = parser.get_doctest(text, dict(known), kernel.name, None, 0)
        assert found.examples, kernel.name
        runner.run(found, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.mark.parametrize("kernel", ops.kernels(), ids=str)
def test_functions_take_what_the_table_says(kernel: ops.Kernel) -> None:
    function = getattr(ops, kernel.name)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [operand.name for operand in kernel.operands]
    names += [attribute.name for attribute in kernel.attributes]
    names += ["arithmetic"] if kernel.products else []
    assert [each.name for each in parameters] == names
    for each in parameters:
        attribute = kernel.attribute(each.name)
        if attribute is not None and attribute.default is not None:
            default = attribute.default
            wide = isinstance(default, tuple) and len(default) == 1
            assert each.default == (default[0] if wide else default), each.name
    for word in (kernel.formula, *(str(types) for types in kernel.types)):
        assert word in function.__doc__


def test_every_kernel_has_its_function() -> None:
    assert {kernel.name for kernel in ops.kernels()} <= set(ops.__all__)


WRONG = {
    "shapes": (lambda d: ops.matmul(d, ONES(2, 3), ONES(4, 5)), ("a: float32[2, 3]", "k is 3")),
    "batches": (lambda d: ops.add(d, ONES(2, 3), ONES(4)), ("float32[4]", "do not broadcast")),
    "rank": (lambda d: ops.gemv(d, ONES(2), ONES(2)), ("rank 1", "expected 2")),
    "types": (lambda d: ops.matmul(d, ONES(2, 2).astype("int64"), ONES(2, 2)), ("int64", "int8")),
    "an axis": (lambda d: ops.softmax(d, ONES(2), axis=3), ("axis 3", "float32[2]")),
    "an order": (lambda d: ops.transpose(d, ONES(2, 3), (0, 0)), ("twice",)),
    "a window": (lambda d: ops.max_pool(d, ONES(1, 1, 4), 9), ("window of 9", "4 elements")),
    "channels": (lambda d: ops.conv2d(d, ONES(1, 3, 4, 4), ONES(2, 4, 1, 1)), ("c is 3",)),
    "k": (lambda d: ops.top_k(d, ONES(3), 5), ("k 5", "3 elements")),
    "elements": (lambda d: ops.reshape(d, ONES(6), (4, 2)), ("6 elements", "[4, 2]")),
    "directions": (
        lambda d: ops.rnn(d, ONES(2, 1, 3), ONES(1, 4, 3), ONES(1, 4, 4), direction="up"),
        ("direction", "'up'", "forward"),
    ),
    "parts": (lambda d: ops.concat(d, [ONES(2, 3), ONES(2, 4)]), ("axis 1", "parts1 has 4")),
    "mixed parts": (lambda d: ops.concat(d, [ONES(2), np.int8([1])]), ("float32, int8",)),
    "a missing operand": (lambda d: d.run("matmul", ONES(2, 2)), ("b[…, k, n] is missing",)),
    "a setting": (lambda d: d.run("softmax", ONES(2), speed=1), ("'speed'", "axis")),
    "no number": (lambda d: d.run("softmax", ONES(2), axis="x"), ("axis is 'x'", "integer")),
}


def ONES(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_before_it_travels(device: vaccel.Device, case: str) -> None:
    attempt, words = WRONG[case]
    kept = len(device._kernels._kept)
    with pytest.raises(InvalidArgument) as caught:
        attempt(device)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert len(device._kernels._kept) == kept


NO_NUMBERS: dict[str, Callable[[np.ndarray, vaccel.Device], object]] = {
    "complex numbers": lambda array, _: array.astype(np.complex64),
    "doubles": lambda array, _: array.astype(np.float64),
    "strings": lambda array, _: np.full(array.shape, "x"),
    "objects": lambda array, _: np.full(array.shape, None),
    "uneven lists": lambda *_: [[1, 2], [3]],
    "a text": lambda *_: "hello",
    "a dict": lambda *_: {"a": 1},
    "a huge number": lambda *_: 1 << 70,
    "a buffer": lambda _, device: device.buffer(8),
}


@pytest.mark.parametrize("name", KERNELS)
def test_every_operand_is_refused_by_name_where_it_is_no_array_of_its_types(
    device: vaccel.Device, name: str
) -> None:
    kernel = KERNELS[name]
    good = cases.example(name, next(iter(kernel.types[0].variables.values()))[0])
    for operand in good:
        for what, wrong in NO_NUMBERS.items():
            given = good | {operand: wrong(good[operand], device)}
            if kernel.operands[0].repeated:
                given = {kernel.operands[0].name: list(given.values())}
            with pytest.raises(InvalidArgument) as caught:
                getattr(ops, name)(device, **given, **cases.SETTINGS.get(name, {}))
            text = str(caught.value)
            assert f"kernel {name}: " in text and caught.value.hint, (operand, what, text)
            assert "\n" not in text, text


def test_an_element_type_is_named_as_numpy_does(device: vaccel.Device) -> None:
    for to in ("int8", np.int8, np.dtype("int8")):
        assert ops.cast(device, ONES(2), to).dtype == np.int8
    with pytest.raises(InvalidArgument, match="to is 'float64'"):
        ops.cast(device, ONES(2), np.float64)


def test_parts_that_are_no_list_are_refused(device: vaccel.Device) -> None:
    for wrong in (3, None, ONES(2)):
        with pytest.raises(InvalidArgument, match=r"kernel concat: .*parts"):
            ops.concat(device, wrong)


def test_what_does_not_exist_is_named(device: vaccel.Device) -> None:
    with pytest.raises(NotFound, match=r"sofmax.*softmax"):
        device.run("sofmax", ONES(2))
    with pytest.raises(Unsupported, match="fp4"):
        ops.matmul(device, ONES(2, 2), ONES(2, 2), arithmetic="fp4")


def test_one_compiled_kernel_serves_many_shapes(device: vaccel.Device) -> None:
    ops.gemv(device, ONES(2, 3), ONES(3))
    kept = len(device._kernels._kept)
    for size in range(2, 9):
        assert ops.gemv(device, ONES(size, size + 1), ONES(size + 1)).tolist() == [size + 1] * size
    assert len(device._kernels._kept) == kept


@pytest.mark.parametrize("name", KERNELS)
def test_a_worker_computes_as_this_process_does(
    device: vaccel.Device, npu: Target, name: str
) -> None:
    """To the bit: what is proven of programs in process holds of a VF."""
    kernel = KERNELS[name]
    arithmetics = ("", "bf16", "fp8_e4m3") if kernel.products else ("",)
    for kind in next(iter(kernel.types[0].variables.values())):
        arrays = cases.example(name, kind)
        for arithmetic in arithmetics:
            settings = cases.SETTINGS.get(name, {}) | (
                {"arithmetic": arithmetic} if arithmetic else {}
            )
            given = device._kernels.run(name, (), arrays, settings)
            wanted = cases.run(npu, name, arrays, **settings)
            assert given.keys() == wanted.results.keys()
            for key, array in wanted.results.items():
                assert np.array_equal(given[key], array, equal_nan=array.dtype.kind == "f"), key
            shapes = {key: array.shape for key, array in arrays.items()}
            assert device.last_cost == given.cost
            assert given.cost.critical_cycles == wanted.program.estimate(shapes, {}).critical_cycles


def test_tensors_in_device_memory_are_operands_too(device: vaccel.Device) -> None:
    weight = device.buffer(ONES(300, 500))
    product = ops.matmul(device, ONES(2, 300), weight.tensor("float32", (300, 500)))
    assert (product == 300).all()


def test_kernels_beyond_those_kept_are_forgotten(
    device: vaccel.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vaccel.bounds, "KERNELS_KEPT", 3)
    for shape in range(1, 7):
        assert ops.reshape(device, ONES(shape), (1, shape)).shape == (1, shape)
        assert len(device._kernels._kept) <= 3


def test_threads_share_kernels_that_come_and_go(
    device: vaccel.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that another thread is in stays, however few are kept."""
    monkeypatch.setattr(vaccel.bounds, "KERNELS_KEPT", 1)

    def work(start: int) -> None:
        for index in range(start, start + 8):
            size = 1 + index % 3
            assert ops.reshape(device, ONES(size), (1, size)).tolist() == [[1.0] * size]
            assert ops.reduce_sum(device, ONES(size)).item() == size

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, start) for start in range(4)]:
            done.result()


def test_idle_kernels_make_room_for_others(host: DaemonHost) -> None:
    with host.vf("full") as vf, vaccel.open(address=vf.socket) as device:
        fill(device)


def fill(device: vaccel.Device) -> None:
    ops.relu(device, ONES(2))
    x = Port("x", DType.FLOAT32, ("n",))
    with pytest.raises(Exhausted, match="256 programs"):
        for _ in range(257):
            device.kernel("exp", x)
    assert ops.tanh(device, np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert len(device._kernels._kept) == 1
