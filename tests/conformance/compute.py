"""The one suite over the Compute port: what holds wherever Compute is implemented or passed on.

Use, in a test module that has a fixture ``compute`` (a Compute with one device and no context)::

    from tests.conformance.compute import CHECKS

    @pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
    async def test_compute(compute, check):
        await check(compute, models.build)

A check is a plain coroutine ``check(compute, model)`` where ``model(name)`` gives the bytes of one
of ``tests.conformance.models``; nothing here needs pytest or onnx, so that it runs in a guest too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import numpy as np

from vaccel import bounds
from vaccel.commands import (
    Command,
    Completion,
    Copy,
    Fill,
    Launch,
    Nop,
    Result,
    Signal,
    Store,
    WaitFence,
)
from vaccel.compute import Compute, KernelSource, OnnxSource, Program
from vaccel.errors import (
    Cancelled,
    Exhausted,
    InvalidArgument,
    InvalidModel,
    NotFound,
    VaccelError,
)
from vaccel.model import BufferRange, DType, Port, Strings, Tensor, Value

Model = Callable[[str], bytes]
Check = Callable[[Compute, Model], Awaitable[None]]
CHECKS: dict[str, Check] = {}
SECONDS = 60.0


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


@contextmanager
def refused(kind: type[VaccelError], *words: str) -> Iterator[None]:
    """The block must raise that error, in one line that has these words."""
    try:
        yield
    except VaccelError as error:
        is_error(error, kind, *words)
    else:
        raise AssertionError(f"nothing raised, {kind.__name__} expected")


def is_error(error: VaccelError | None, kind: type[VaccelError], *words: str) -> None:
    assert type(error) is kind, f"{error!r} is no {kind.__name__}"
    text = str(error)
    assert "\n" not in text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


@dataclass
class Session:
    """A context with what checks do all the time."""

    compute: Compute
    context: str

    async def buffer(self, data: bytes) -> int:
        number = await self.compute.allocate(self.context, len(data))
        for at in range(0, len(data), bounds.CHUNK_BYTES):
            piece = data[at : at + bounds.CHUNK_BYTES]
            await self.compute.write(self.context, number, at, piece)
        return number

    async def load(self, data: bytes) -> Program:
        source = OnnxSource(await self.buffer(data), 0, len(data))
        return await self.compute.load_program(self.context, source)

    async def submit(self, *commands: Command, stream: int = 0, first: int = 1) -> None:
        await self.compute.submit(self.context, stream, first, commands)

    async def wait(
        self, fence: int, stream: int = 0, acknowledged: int = 0
    ) -> Sequence[Completion]:
        progress = await self.compute.wait(self.context, stream, fence, SECONDS, acknowledged)
        assert progress.reached >= fence
        return progress.completions

    async def run(self, *commands: Command, stream: int = 0, first: int = 1) -> list[Completion]:
        """Submit, wait, and give the completions of these commands."""
        await self.submit(*commands, stream=stream, first=first)
        last = first + len(commands) - 1
        found: list[Completion] = []
        while not found or found[-1].fence < last:
            seen = found[-1].fence if found else first - 1
            found += await self.wait(last, stream, seen)
        return found

    async def launch(
        self, program: int, arguments: Mapping[str, Value], *results: Result, first: int = 1
    ) -> Completion:
        """Run a program; it must succeed."""
        (done,) = await self.run(Launch(program, arguments, results), first=first)
        assert done.error is None, done.error
        return done

    async def bytes(self, buffer: int, length: int, offset: int = 0) -> bytes:
        return await self.compute.read(self.context, buffer, offset, length)


@asynccontextmanager
async def opened(compute: Compute) -> AsyncIterator[Session]:
    context = await compute.open_context()
    try:
        yield Session(compute, context)
    finally:
        await compute.close_context(context)


def tensor(array: np.ndarray) -> Tensor:
    return Tensor(DType(array.dtype.name), array.shape, data=array.tobytes())


def array(value: Value) -> np.ndarray:
    assert isinstance(value, Tensor) and value.data is not None
    return np.frombuffer(value.data, value.dtype.numpy).reshape(value.shape)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def affine(x: np.ndarray) -> np.ndarray:
    """The reference of the model of that name."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
    return x @ weight + np.array([1, -1, 0.5], np.float32)


# --- devices and contexts -------------------------------------------------------------------


@check
async def a_device_says_what_it_is(compute: Compute, model: Model) -> None:
    (device,) = await compute.devices()
    assert device.id and device.kind and device.card
    assert device.profile.kind == device.kind
    assert 0 < device.memory_free_bytes <= device.profile.memory_bytes
    assert "int8" in device.arithmetic
    assert device.clock_hz > 0


@check
async def a_context_opens_by_id_and_resumes(compute: Compute, model: Model) -> None:
    (device,) = await compute.devices()
    context = await compute.open_context(device.id)
    buffer = await compute.allocate(context, 8)
    await compute.write(context, buffer, 0, b"remember")
    assert await compute.open_context(resume=context) == context
    assert await compute.read(context, buffer, 0, 8) == b"remember"
    await compute.close_context(context)
    await compute.close_context(context)
    with refused(NotFound, context):
        await compute.allocate(context, 8)
    with refused(NotFound):
        await compute.open_context(resume=context)


@check
async def an_unknown_device_is_named(compute: Compute, model: Model) -> None:
    with refused(NotFound, "vf-nowhere"):
        await compute.open_context("vf-nowhere")


@check
async def contexts_do_not_see_each_other(compute: Compute, model: Model) -> None:
    async with opened(compute) as one, opened(compute) as other:
        buffer = await one.buffer(b"private!")
        with refused(NotFound, str(buffer)):
            await other.bytes(buffer, 8)


# --- memory ---------------------------------------------------------------------------------


@check
async def a_buffer_starts_as_zeros(compute: Compute, model: Model) -> None:
    size = 300_000
    async with opened(compute) as session:
        secret = await session.buffer(b"\xa5" * size)
        await compute.free(session.context, secret)
        fresh = await compute.allocate(session.context, size)
        assert await session.bytes(fresh, size) == bytes(size)
    async with opened(compute) as session:
        fresh = await compute.allocate(session.context, size)
        assert await session.bytes(fresh, size) == bytes(size)


@check
async def bytes_are_kept_where_they_are_put(compute: Compute, model: Model) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB: two chunks
    async with opened(compute) as session:
        buffer = await session.buffer(data)
        got = [await session.bytes(buffer, bounds.CHUNK_BYTES, at << 20) for at in range(2)]
        assert b"".join(got) == data
        await compute.write(session.context, buffer, 5, b"hello")
        assert await session.bytes(buffer, 7, 4) == data[4:5] + b"hello" + data[10:11]
        await compute.free(session.context, buffer)
        await compute.free(session.context, buffer)
        with refused(NotFound, f"buffer {buffer}"):
            await session.bytes(buffer, 1)


@check
async def bytes_outside_a_buffer_are_refused(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await compute.allocate(session.context, 100)
        for offset, length in ((0, 101), (100, 1), (96, 5), ((1 << 64) - 1, 2)):
            with refused(InvalidArgument, "100 bytes"):
                await session.bytes(buffer, length, offset)
        with refused(InvalidArgument, "100 bytes"):
            await compute.write(session.context, buffer, 99, b"xy")
        with refused(InvalidArgument, str(bounds.CHUNK_BYTES)):
            await compute.write(session.context, buffer, 0, bytes(bounds.CHUNK_BYTES + 1))
        with refused(InvalidArgument, str(bounds.CHUNK_BYTES)):
            await session.bytes(buffer, bounds.CHUNK_BYTES + 1)


@check
async def memory_ends_where_the_profile_says(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        (device,) = await compute.devices()
        free = device.memory_free_bytes
        for size in (free + 1, 1 << 62, (1 << 64) - 1):
            with refused(Exhausted, str(size), str(free)):
                await compute.allocate(session.context, size)
        whole = await compute.allocate(session.context, free)
        with refused(Exhausted, " 0 of "):
            await compute.allocate(session.context, 1)
        await compute.free(session.context, whole)
        await compute.allocate(session.context, free)
    (device,) = await compute.devices()
    assert device.memory_free_bytes == free


# --- programs -------------------------------------------------------------------------------


@check
async def a_program_says_its_signature(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = await session.load(model("affine"))
        assert program.inputs == (Port("x", DType.FLOAT32, ("batch", 4)),)
        assert program.outputs == (Port("y", DType.FLOAT32, ("batch", 3)),)
        assert (program.nodes, program.weight_bytes) == (2, 60)
        assert len(program.sha256) == 64
        optional = await session.load(model("scaled"))
        assert [port.optional for port in optional.inputs] == [False, True]
        await compute.unload_program(session.context, program.id)
        await compute.unload_program(session.context, program.id)
        (done,) = await session.run(Launch(program.id, {"x": tensor(ones(1, 4))}))
        is_error(done.error, NotFound, f"program {program.id}")


@check
async def bad_models_are_refused(compute: Compute, model: Model) -> None:
    good = model("affine")
    async with opened(compute) as session:
        for bad in (b"", b"not a model", good[: len(good) // 2], good[:-1], bytes(1000)):
            with refused(InvalidModel):
                await session.load(bad)
        with refused(InvalidModel, "weight", "/etc/passwd"):
            await session.load(model("external"))
        buffer = await session.buffer(good)
        for offset, length in ((1, len(good)), (0, 1 << 40), ((1 << 64) - 1, 2)):
            with refused(InvalidArgument):
                source = OnnxSource(buffer, offset, length)
                await compute.load_program(session.context, source)
        with refused(NotFound, "buffer 999"):
            await compute.load_program(session.context, OnnxSource(999, 0, 10))
        program = await session.load(good)
        await session.launch(program.id, {"x": tensor(ones(1, 4))})


# --- launches -------------------------------------------------------------------------------


@check
async def a_launch_gives_numbers_and_a_cost(compute: Compute, model: Model) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    async with opened(compute) as session:
        program = await session.load(model("affine"))
        done = await session.launch(program.id, {"x": tensor(x)})
        np.testing.assert_allclose(array(done.results["y"]), affine(x), rtol=1e-6)
        cost = done.cost
        assert cost is not None and cost.critical_cycles > 0
        assert cost.end_ns > cost.start_ns and cost.total_joules > 0
        assert sum(cost.nodes.values()) == 2


@check
async def launches_work_in_device_memory(compute: Compute, model: Model) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    async with opened(compute) as session:
        program = await session.load(model("affine"))
        # An odd place: the device copies where a kernel could not work.
        source = await session.buffer(b"\0" * 3 + x.tobytes())
        target = await compute.allocate(session.context, 100)
        arguments = {"x": Tensor(DType.FLOAT32, (2, 4), place=BufferRange(source, 3))}
        place = BufferRange(target, 8)
        done = await session.launch(program.id, arguments, Result("y", place))
        assert done.results["y"] == Tensor(DType.FLOAT32, (2, 3), place=place)
        got = np.frombuffer(await session.bytes(target, 24, 8), np.float32).reshape(2, 3)
        np.testing.assert_allclose(got, affine(x), rtol=1e-6)
        (bad,) = await session.run(
            Launch(program.id, arguments, (Result("y", BufferRange(target, 77)),)), first=2
        )
        is_error(bad.error, InvalidArgument, "'y'", "100 bytes")
        outside = {"x": Tensor(DType.FLOAT32, (2, 4), place=BufferRange(source, 4))}
        (bad,) = await session.run(Launch(program.id, outside), first=3)
        is_error(bad.error, InvalidArgument, "'x'", "35 bytes")


@check
async def a_large_result_gets_a_buffer(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = await session.load(model("large"))
        done = await session.launch(program.id, {"x": tensor(np.float32([7]))})
        result = done.results["y"]
        assert isinstance(result, Tensor) and result.place is not None
        assert result.shape == (1024, 1024)
        got = np.frombuffer(await session.bytes(result.place.buffer, 4096), np.float32)
        assert (got == 7).all()
        await compute.free(session.context, result.place.buffer)


@check
async def wrong_arguments_show_both_sides(compute: Compute, model: Model) -> None:
    x = tensor(ones(2, 4))
    async with opened(compute) as session:
        program = (await session.load(model("affine"))).id
        expected = "float32[batch, 4]"
        cases: list[tuple[dict[str, Value], tuple[str, ...]]] = [
            ({}, ("x: " + expected, "none")),
            ({"z": x}, ("x: " + expected, "'z'")),
            ({"x": x, "z": x}, ("x: " + expected, "'z'")),
            ({"x": tensor(ones(2, 5))}, (expected, "float32[2, 5]")),
            ({"x": tensor(ones(4))}, (expected, "float32[4]")),
            ({"x": tensor(ones(2, 4).astype(np.float64))}, (expected, "float64[2, 4]")),
            ({"x": Strings((1, 4), ("a", "b", "c", "d"))}, (expected, "string[1, 4]")),
        ]
        for fence, (arguments, words) in enumerate(cases, 1):
            (done,) = await session.run(Launch(program, arguments), first=fence)
            is_error(done.error, InvalidArgument, *words)
        last = len(cases) + 1
        (done,) = await session.run(Launch(program, {"x": x}, (Result("q"),)), first=last)
        is_error(done.error, InvalidArgument, "'q'", "y: float32[batch, 3]")
        await session.launch(program, {"x": x}, first=last + 1)


@check
async def bad_values_fail_one_launch(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = (await session.load(model("gather"))).id
        (done,) = await session.run(Launch(program, {"index": tensor(np.int64([3, 99]))}))
        is_error(done.error, InvalidArgument, "pick", "99")
        good = await session.launch(program, {"index": tensor(np.int64([3, 1]))}, first=2)
        assert array(good.results["y"]).tolist() == [3, 1]


@check
async def strings_and_defaults_travel(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        twice = (await session.load(model("twice"))).id
        done = await session.launch(twice, {"text": Strings((2,), ("hello", "wörld"))})
        assert done.results["both"] == Strings((4,), ("hello", "wörld") * 2)
        scaled = (await session.load(model("scaled"))).id
        x = {"x": tensor(np.float32([1, 2]))}
        done = await session.launch(scaled, x, first=2)
        assert array(done.results["y"]).tolist() == [2, 4]
        done = await session.launch(scaled, {**x, "factor": tensor(np.float32([3]))}, first=3)
        assert array(done.results["y"]).tolist() == [3, 6]


# --- kernels --------------------------------------------------------------------------------


@check
async def kernels_run_by_name(compute: Compute, model: Model) -> None:
    rng = np.random.default_rng(7)
    async with opened(compute) as session:
        a, b = rng.standard_normal((5, 9), np.float32), rng.standard_normal((9, 4), np.float32)
        ports = (Port("a", DType.FLOAT32, ("m", "k")), Port("b", DType.FLOAT32, ("k", "n")))
        program = await compute.load_program(session.context, KernelSource("matmul", ports))
        assert program.outputs == (Port("result", DType.FLOAT32, ("m", "n")),)
        done = await session.launch(program.id, {"a": tensor(a), "b": tensor(b)})
        np.testing.assert_allclose(array(done.results["result"]), a @ b, rtol=1e-5, atol=1e-5)


@check
async def int8_products_are_exact(compute: Compute, model: Model) -> None:
    rng = np.random.default_rng(11)
    async with opened(compute) as session:
        ports = (Port("a", DType.INT8, ("m", "k")), Port("b", DType.INT8, ("k", "n")))
        program = await compute.load_program(session.context, KernelSource("matmul", ports))
        for fence, (m, k, n) in enumerate([(1, 1, 1), (3, 700, 5), (17, 64, 33)], 1):
            a = rng.integers(-128, 128, (m, k)).astype(np.int8)
            b = rng.integers(-128, 128, (k, n)).astype(np.int8)
            a[0], b[:, 0] = -128, -128
            done = await session.launch(program.id, {"a": tensor(a), "b": tensor(b)}, first=fence)
            got = array(done.results["result"])
            assert got.dtype == np.int32
            np.testing.assert_array_equal(got, a.astype(np.int64) @ b.astype(np.int64))


@check
async def bad_kernels_are_refused(compute: Compute, model: Model) -> None:
    f32 = Port("", DType.FLOAT32, (2, 3))
    cases: list[tuple[KernelSource, type[VaccelError], str]] = [
        (KernelSource("frobnicate", (f32,)), NotFound, "frobnicate"),
        (KernelSource("matmul", (f32,)), InvalidArgument, "a, b"),
        (KernelSource("matmul", (f32, Port("b", DType.INT8, (3, 2)))), InvalidArgument, "int8"),
        (KernelSource("matmul", (f32, f32)), InvalidArgument, "float32[2, 3]"),
        (
            KernelSource("matmul", (f32, Port("", DType.FLOAT32, (3, 2))), {"alpha": "2"}),
            InvalidArgument,
            "alpha",
        ),
    ]
    async with opened(compute) as session:
        for source, kind, word in cases:
            with refused(kind, word):
                await compute.load_program(session.context, source)


# --- cost -----------------------------------------------------------------------------------


@check
async def an_estimate_is_what_a_launch_costs(compute: Compute, model: Model) -> None:
    shape = Tensor(DType.FLOAT32, (6, 4))
    async with opened(compute) as session:
        program = (await session.load(model("affine"))).id
        guess = await compute.estimate(session.context, program, {"x": shape})
        done = await session.launch(program, {"x": tensor(ones(6, 4))})
        assert done.cost is not None
        assert guess.cycles == done.cost.cycles
        assert guess.critical_cycles == done.cost.critical_cycles
        assert guess.device_ns == done.cost.device_ns
        assert guess.joules == done.cost.joules
        with refused(InvalidArgument, "float32[batch, 4]", "float32[6, 5]"):
            wrong = Tensor(DType.FLOAT32, (6, 5))
            await compute.estimate(session.context, program, {"x": wrong})


@check
async def values_that_steer_decide_the_cost(compute: Compute, model: Model) -> None:
    x = Tensor(DType.FLOAT32, (32, 32))
    async with opened(compute) as session:
        program = (await session.load(model("branch"))).id
        with refused(InvalidArgument, "flag"):
            unknown = {"flag": Tensor(DType.BOOL, ()), "x": x}
            await compute.estimate(session.context, program, unknown)
        cycles = []
        for fence, flag in enumerate((True, False, True), 1):
            given = {"flag": tensor(np.array(flag)), "x": tensor(ones(32, 32))}
            guess = await compute.estimate(session.context, program, {**given, "x": x})
            done = await session.launch(program, given, first=fence)
            assert done.cost is not None
            assert guess.critical_cycles == done.cost.critical_cycles
            cycles.append(done.cost.critical_cycles)
        assert cycles[0] == cycles[2] > cycles[1]


@check
async def device_time_is_the_vfs_own(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = (await session.load(model("affine"))).id
        spent, last = set(), None
        for fence in range(1, 5):
            done = await session.launch(program, {"x": tensor(ones(3, 4))}, first=fence)
            assert done.cost is not None
            assert last is None or done.cost.start_ns == last
            last = done.cost.end_ns
            spent.add(done.cost.device_ns)
        assert len(spent) == 1


# --- streams --------------------------------------------------------------------------------


@check
async def commands_complete_in_order(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        done = await session.run(*[Nop() for _ in range(100)])
        assert [c.fence for c in done] == list(range(1, 101))
        assert all(c.error is None for c in done)


@check
async def a_repeated_submission_runs_once(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await session.buffer(b"ab" + bytes(8))
        shift = Copy(BufferRange(buffer, 0), BufferRange(buffer, 1), 8)
        await session.submit(shift)
        await session.submit(shift)
        await session.submit(shift, Nop())
        await session.wait(2)
        assert await session.bytes(buffer, 4) == b"aab\0"


@check
async def gaps_and_the_future_are_refused(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        with refused(InvalidArgument, "expected 1"):
            await session.submit(Nop(), first=2)
        with refused(InvalidArgument, "expected 1"):
            await session.submit(Nop(), first=0)
        await session.run(Nop())
        with refused(InvalidArgument, "fence 9", "future"):
            await session.wait(9)
        with refused(InvalidArgument, "future", "stream 7"):
            await session.submit(WaitFence(7, 1), first=2)
        with refused(InvalidArgument, "future"):
            await session.submit(WaitFence(0, 2), first=2)
        with refused(InvalidArgument, "signal"):
            await session.submit(Signal(0, 9), first=2)
        with refused(InvalidArgument, str(bounds.COMMANDS_PER_SUBMIT)):
            await session.submit(*[Nop()] * (bounds.COMMANDS_PER_SUBMIT + 1), first=2)
        await session.run(Nop(), first=2)


@check
async def a_failure_cancels_the_rest_of_its_submission(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await compute.allocate(session.context, 8)
        place = BufferRange(buffer)
        bad = Store(BufferRange(buffer, 5), b"12345678")
        done = await session.run(Store(place, b"before__"), bad, Store(place, b"after___"), Nop())
        assert done[0].error is None
        is_error(done[1].error, InvalidArgument, "8 bytes")
        is_error(done[2].error, Cancelled, "2")
        is_error(done[3].error, Cancelled, "2")
        assert await session.bytes(buffer, 8) == b"before__"
        (clean,) = await session.run(Store(place, b"after___"), first=5)
        assert clean.error is None
        assert await session.bytes(buffer, 8) == b"after___"


@check
async def completions_stay_until_acknowledged(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        await session.submit(Nop(), Nop(), Nop())
        assert [c.fence for c in await session.wait(3)] == [1, 2, 3]
        assert [c.fence for c in await session.wait(3)] == [1, 2, 3]
        assert [c.fence for c in await session.wait(3, acknowledged=2)] == [3]
        assert [c.fence for c in await session.wait(3, acknowledged=3)] == []


@check
async def streams_wait_for_each_other(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = (await session.load(model("affine"))).id
        source = await session.buffer(ones(2, 4).tobytes())
        middle = await compute.allocate(session.context, 24)
        x = {"x": Tensor(DType.FLOAT32, (2, 4), place=BufferRange(source))}
        work = Launch(program, x, (Result("y", BufferRange(middle)),))
        await session.submit(work, Signal(1, 2), stream=1)
        copy = Copy(BufferRange(middle), BufferRange(source), 24)
        done = await session.run(WaitFence(1, 2), copy, stream=2)
        assert [c.error for c in done] == [None, None]
        got = np.frombuffer(await session.bytes(source, 24), np.float32)
        np.testing.assert_allclose(got.reshape(2, 3), affine(ones(2, 4)), rtol=1e-6)


@check
async def memory_commands_do_what_they_say(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await session.buffer(b"0123456789")
        done = await session.run(
            Copy(BufferRange(buffer, 0), BufferRange(buffer, 3), 6),  # overlapping, as memmove
            Store(BufferRange(buffer, 0), b"ab"),
        )
        assert [c.error for c in done] == [None, None]
        assert await session.bytes(buffer, 10) == b"ab20123459"
        await session.run(Fill(BufferRange(buffer, 1), 8, b"xyzw"), first=3)
        assert await session.bytes(buffer, 10) == b"axyzwxyzw9"


@check
async def bad_memory_commands_fail(compute: Compute, model: Model) -> None:
    top = (1 << 64) - 1
    async with opened(compute) as session:
        buffer = await compute.allocate(session.context, 16)
        here = BufferRange(buffer)
        bad: list[tuple[Command, type[VaccelError]]] = [
            (Copy(here, BufferRange(buffer, 9), 8), InvalidArgument),
            (Copy(BufferRange(buffer, top), here, 2), InvalidArgument),
            (Copy(here, here, top), InvalidArgument),
            (Copy(BufferRange(99), here, 1), NotFound),
            (Fill(here, 17, b"x"), InvalidArgument),
            (Fill(here, 9, b"xy"), InvalidArgument),
            (Fill(here, 9, b"xyz"), InvalidArgument),
            (Fill(here, 8, b""), InvalidArgument),
            (Store(BufferRange(buffer, top), b"xy"), InvalidArgument),
            (Store(BufferRange(99), b"xy"), NotFound),
            (Launch(99, {}), NotFound),
        ]
        for fence, (command, kind) in enumerate(bad, 1):
            (done,) = await session.run(command, first=fence)
            is_error(done.error, kind)
        assert await session.bytes(buffer, 16) == bytes(16)
