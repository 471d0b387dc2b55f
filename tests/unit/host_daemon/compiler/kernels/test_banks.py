"""Products in banks, where weights of the program lie; and that no bound is met by everything."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.kernels import cases, machines, roundoff
from tests.unit.host_daemon.compiler.kernels.machines import CARDS, arithmetics, product
from tests.unit.host_daemon.compiler.kernels.recurrences import Halves, Singles, layer
from vaccel.kernels import KERNELS

SEEDS = st.integers(0, 2**32 - 1)
# What banks compute in, and of how many rows a product is still theirs.
BANKS = {"aquabolt-xl": ("fp16", 8), "aim": ("bf16", 8), "kcloud-2": ("fp16", 1)}
# Terms of a sum of which one must not be missing, where it is not 300.
DEPTHS = {"fp8_e4m3": 16, "fp8_e5m2": 16}


def exact(name: str):
    return (lambda a, b: a @ b.T) if name == "linear" else np.matmul


def operands(name: str, m: int, k: int, n: int, rng: np.random.Generator, kind: str) -> dict:
    shape = (n, k) if name == "linear" else (k, n)
    first, second, *_ = (each.name for each in KERNELS[name].operands)
    drawn = {first: cases.numbers(rng, (m, k), kind), second: cases.numbers(rng, shape, kind)}
    if name == "linear" and rng.integers(2):
        drawn["bias"] = cases.numbers(rng, (n,), kind)
    return drawn


@pytest.mark.parametrize("vf", BANKS, indirect=True)
@pytest.mark.parametrize("name", ["matmul", "linear"])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_weights_in_banks_are_multiplied_within_their_bound(
    vf: Target, name: str, kind: str
) -> None:
    card = vf.device.card.name
    arithmetic, rows = BANKS[card]

    @cases.few(vf)
    @given(st.data(), SEEDS)
    def check(data: st.DataObject, seed: int) -> None:
        rng = np.random.default_rng(seed)
        m, k, n = data.draw(st.integers(1, rows)), data.draw(st.integers(256, 400)), 256
        arrays = operands(name, m, k, n, rng, kind)
        weights = list(arrays)[1]
        run = cases.held(vf, name, arrays, [weights], arithmetic=arithmetic)
        assert run.places == {"banks"}
        assert misses(card, name, run, arithmetic) == 0
        assert machines.is_of(run.results["result"], arithmetic)

    check()


ELEMENTS = {"add": np.add, "multiply": np.multiply, "relu": lambda x: np.maximum(x, np.float16(0))}


@pytest.mark.parametrize("vf", machines.HALVES, indirect=True)
@pytest.mark.parametrize("name", ELEMENTS)
def test_elements_in_banks_are_rounded_once(vf: Target, name: str) -> None:
    """So that they are NumPy's halves, to the bit."""

    @cases.few(vf, 2)
    @given(st.integers(400, 600), SEEDS)
    def check(size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        names = [each.name for each in KERNELS[name].operands]
        arrays = {each: cases.numbers(rng, (512, size), "float16") for each in names}
        run = cases.run(vf, name, arrays)
        assert run.places == {"banks"}
        assert np.array_equal(run.results["result"], ELEMENTS[name](*arrays.values()))

    check()


@pytest.mark.parametrize("vf", machines.HALVES, indirect=True)
def test_batches_in_banks_are_normalised_within_their_bound(vf: Target) -> None:
    """x s + t, rounded to fp16 after the product and after the sum. The host makes s of scale and
    variance in float32, in four operations, and t in two more, each rounded to fp16:

        |ds| <= (u + gamma(4)) |s| + eta,  |dt| <= u |t| + gamma(6) (|bias| + |mean s|) + eta
    """
    half, names = roundoff.FORMATS["fp16"], ["scale", "bias", "mean", "variance"]

    def once(exact: np.ndarray, error: np.ndarray) -> np.ndarray:
        return error + half.u * (np.abs(exact) + error) + half.eta

    @cases.few(vf, 2)
    @given(st.integers(50, 70), SEEDS)
    def check(channels: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        arrays = {"x": cases.numbers(rng, (1, channels, 130, 128), "float16", -2, 2)}
        arrays |= {each: cases.numbers(rng, (channels,), "float16", 0.1, 2) for each in names}
        run = cases.held(vf, "batch_norm", arrays, names)
        assert run.places == {"banks"}
        x, scale, bias, mean, variance = cases.wide(arrays).values()
        s = scale / np.sqrt(variance + 1e-5)
        t = bias - mean * s
        ds = once(s, roundoff.gamma(4) * np.abs(s))
        dt = once(t, roundoff.gamma(6) * (np.abs(bias) + np.abs(mean * s)))
        s, t, ds, dt = (each[:, None, None] for each in (s, t, ds, dt))
        product = once(x * s, np.abs(x) * ds)
        error = once(x * s + t, product + dt)
        off = np.abs(run.results["result"] - (x * s + t))
        assert (off <= error).all()
        # It is no larger than it has to be: six units in the last place are beyond it.
        assert (off + 6 * half.u * np.abs(x * s + t) > error).mean() > 0.5

    check()


@pytest.mark.parametrize("vf", machines.HALVES, indirect=True)
def test_a_recurrence_in_banks_rounds_each_step(vf: Target) -> None:
    """Within the bound of halves, and not within that of float32."""
    rng, hidden = np.random.default_rng(3), 256
    shapes = {"x": (2, 1, 200), "w": (1, 4 * hidden, 200), "r": (1, 4 * hidden, hidden)}
    shapes |= {"bias": (1, 8 * hidden)}
    arrays = {name: cases.numbers(rng, shape, "float16", -1, 1) for name, shape in shapes.items()}
    arrays["w"], arrays["r"] = (arrays[name] / np.float16(16) for name in "wr")
    run = cases.held(vf, "lstm", arrays, ["w", "r", "bias"])
    assert run.places == {"banks"}
    for steps, holds in ((Halves(), True), (Singles(), False)):
        expected = layer("lstm", cases.wide(arrays), "forward", False, steps)
        within = [
            (np.abs(found - exact) <= error + roundoff.F32.eta).all()
            for found, (exact, error) in ((run.results[n], expected[n]) for n in run.results)
        ]
        assert all(within) is holds


def misses(card: str, name: str, run: cases.Run, arithmetic: str) -> int:
    """How many results are beyond their bound."""
    found = run.results["result"]
    left, right, *bias = run.arrays.values()
    added = bias[0].astype(np.float64) if bias else 0.0
    depth = left.shape[-1]
    expected, error = product(
        card, run.places, (left, right), exact(name), arithmetic, depth, added
    )
    error = roundoff.stored(expected, error, found.dtype.name)
    return int(np.count_nonzero(np.abs(found - expected) > error))


NAMED = [(card, each) for card in CARDS for each in arithmetics(card, "matmul")]


@pytest.mark.parametrize(("vf", "arithmetic"), NAMED, indirect=["vf"])
def test_a_product_that_is_left_out_is_beyond_the_bound(vf: Target, arithmetic: str) -> None:
    """The largest of three hundred, and of sixteen where operands have three bits."""
    run = one(vf, arithmetic, DEPTHS.get(arithmetic, 300))
    assert misses(vf.device.card.name, "matmul", run, arithmetic) == 0
    a, b = run.arrays.values()
    largest = np.abs(a).argmax()
    run.results["result"] -= a[:, [largest]] * b[[largest]]
    assert misses(vf.device.card.name, "matmul", run, arithmetic) > b.shape[1] // 4


@pytest.mark.parametrize(
    ("vf", "arithmetic"),
    [(card, each) for card, each in NAMED if each in roundoff.RESULTS],
    indirect=["vf"],
)
def test_operands_that_are_cut_off_are_beyond_the_bound(vf: Target, arithmetic: str) -> None:
    """Half a unit more of each operand, where rounding is to nearest."""
    run = one(vf, arithmetic, 1)
    cut = {name: towards_zero(array, arithmetic) for name, array in run.arrays.items()}
    wrong = cases.run(vf, "matmul", cut, arithmetic=arithmetic)
    wrong = cases.Run(run.arrays, wrong.results, run.program, run.places)
    assert misses(vf.device.card.name, "matmul", wrong, arithmetic) > 32


@pytest.mark.parametrize(("vf", "arithmetic"), NAMED, indirect=["vf"])
@pytest.mark.parametrize("name", ["matmul", "linear"])
def test_a_result_of_another_rounding_is_beyond_the_bound(
    vf: Target, name: str, arithmetic: str
) -> None:
    """Three units of a result more: of single products with a bias or without."""
    run = one(vf, arithmetic, 1, name)
    card = vf.device.card.name
    assert misses(card, name, run, arithmetic) == 0
    short = roundoff.FORMATS[roundoff.RESULTS.get(arithmetic, kind(arithmetic))]
    run.results["result"] *= run.results["result"].dtype.type(1 + 6 * short.u)
    assert misses(card, name, run, arithmetic) > 32


def one(vf: Target, arithmetic: str, depth: int, name: str = "matmul") -> cases.Run:
    rng = np.random.default_rng(1)
    arrays = operands(name, 1, depth, 256, rng, kind(arithmetic))
    if depth >= 256 and BANKS.get(vf.device.card.name, ("",))[0] == arithmetic:
        run = cases.held(vf, "matmul", arrays, ["b"], **settings(arithmetic))
        assert run.places == {"banks"}
        return run
    if name == "linear":
        arrays["bias"] = cases.numbers(rng, (256,), kind(arithmetic))
    return cases.run(vf, name, arrays, **settings(arithmetic))


def kind(arithmetic: str) -> str:
    return arithmetic if arithmetic in ("float32", "float16") else "float32"


def settings(arithmetic: str) -> dict[str, str]:
    return {} if arithmetic in ("float32", "float16") else {"arithmetic": arithmetic}


def towards_zero(x: np.ndarray, arithmetic: str) -> np.ndarray:
    """What a card would take that cuts off what it should round."""
    short = {"fp8_e4m3": ml_dtypes.float8_e4m3fn, "fp8_e5m2": ml_dtypes.float8_e5m2}
    short |= {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}
    near = x.astype(short[arithmetic])
    bits = near.view(np.uint8 if near.dtype.itemsize == 1 else np.uint16)
    beyond = np.abs(near.astype(np.float64)) > np.abs(x.astype(np.float64))
    return (bits - beyond.astype(bits.dtype)).view(near.dtype).astype(x.dtype)
