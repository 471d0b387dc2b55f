"""The compute suite: programs, launches, kernels and what they cost."""

from __future__ import annotations

import numpy as np

from tests.conformance.compute_session import (
    Model,
    affine,
    array,
    check,
    is_error,
    ones,
    opened,
    refused,
    tensor,
)
from vaccel.commands import (
    Launch,
    Result,
)
from vaccel.compute import Blob, Compute, KernelSource, OnnxSource
from vaccel.errors import (
    InvalidArgument,
    InvalidModel,
    NotFound,
    VaccelError,
)
from vaccel.model import BufferRange, DType, Port, Strings, Tensor, Value


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
async def external_data_comes_in_the_models_buffer(compute: Compute, model: Model) -> None:
    good, data = model("beside"), np.arange(12, dtype=np.float32).tobytes()
    start = -(-len(good) // 64) * 64
    whole = good + bytes(start - len(good)) + data
    blob = Blob("weight.bin", start, len(data))
    async with opened(compute) as session:
        buffer = await session.buffer(whole)
        bad: list[tuple[type[VaccelError], tuple[Blob, ...]]] = [
            (InvalidModel, ()),
            (InvalidModel, (Blob("other.bin", start, len(data)),)),
            (InvalidModel, (Blob("weight.bin", start, len(data) - 1),)),
            (InvalidModel, (blob, Blob("../weight.bin", 0, 0))),
            (InvalidArgument, (blob, blob)),
            (InvalidArgument, (blob, Blob("more", start, 1))),
            (InvalidArgument, (Blob("weight.bin", len(good) - 1, len(data)),)),
            (InvalidArgument, (Blob("weight.bin", start, 1 << 40),)),
            (InvalidArgument, (Blob("weight.bin", (1 << 64) - 1, 2),)),
        ]
        for kind, blobs in bad:
            with refused(kind):
                source = OnnxSource(buffer, 0, len(good), blobs)
                await compute.load_program(session.context, source)
        for take in (False, True):
            source = OnnxSource(buffer, 0, len(good), (blob,), take)
            program = await compute.load_program(session.context, source)
            assert program.weight_bytes == 60
            (done,) = await session.run(
                Launch(program.id, {"x": tensor(ones(1, 4))}), stream=2 + take
            )
            assert done.error is None
            np.testing.assert_array_equal(
                array(done.results["y"]), np.arange(12).reshape(4, 3).sum(0)[None]
            )
        # The load took it over: it is nobody's any more.
        with refused(NotFound, str(buffer)):
            await compute.write(session.context, buffer, 0, b"x")
        await compute.free(session.context, buffer)
        buffer = await session.buffer(b"no model")
        with refused(InvalidModel):
            source = OnnxSource(buffer, 0, 8, take=True)
            await compute.load_program(session.context, source)
        with refused(NotFound, str(buffer)):
            await compute.read(session.context, buffer, 0, 1)


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
async def kernels_take_settings_and_give_several_results(compute: Compute, model: Model) -> None:
    x = np.random.default_rng(3).permutation(12).reshape(3, 4).astype(np.float32)
    async with opened(compute) as session:
        ports = (Port("x", DType.FLOAT32, ("rows", "columns")),)
        source = KernelSource("top_k", ports, {"k": "2", "axis": "0", "largest": "0"})
        program = await compute.load_program(session.context, source)
        assert [port.name for port in program.outputs] == ["values", "indices"]
        done = await session.launch(program.id, {"x": tensor(x)})
        np.testing.assert_array_equal(array(done.results["values"]), np.sort(x, 0)[:2])
        np.testing.assert_array_equal(array(done.results["indices"]), np.argsort(x, 0)[:2])


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
        (KernelSource("matmul", (f32,)), InvalidArgument, "b[…, k, n]"),
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
