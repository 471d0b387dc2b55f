"""The compute suite: sequences, optionals and narrow types, in and out of a program."""

from __future__ import annotations

import numpy as np

from tests.conformance.compute_session import Model, array, check, is_error, opened, tensor
from vaccel import bounds
from vaccel.commands import Launch, Result
from vaccel.compute import Compute
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import BufferRange, DType, Items, Nothing, Port, Tensor, Value


@check
async def ports_say_what_wraps_their_tensors(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = await session.load(model("containers"))
        listed, plain, perhaps = program.inputs
        assert listed == Port("list", DType.FLOAT32, None, containers=("sequence",))
        assert str(listed) == "list: sequence of float32[…]"
        assert plain.containers == ()
        assert perhaps.containers == ("optional",)
        assert [port.dtype for port in program.outputs][1:] == [DType.BOOL, DType.INT4]


@check
async def sequences_and_optionals_travel(compute: Compute, model: Model) -> None:
    x = np.array([-9, -1.4, 3, 7], np.float32)
    first = np.arange(6, dtype=np.float32).reshape(2, 3)
    async with opened(compute) as session:
        program = await session.load(model("containers"))
        # One item lies in device memory, and one travels.
        place = BufferRange(await session.buffer(first.tobytes()))
        items = Items((Tensor(DType.FLOAT32, (2, 3), place=place), tensor(x)))
        for number, (perhaps, there) in enumerate(((Nothing(), False), (tensor(x), True)), start=1):
            arguments: dict[str, Value] = {"list": items, "x": tensor(x), "perhaps": perhaps}
            (done,) = await session.run(Launch(program.id, arguments), first=number)
            assert done.error is None, done.error
            more = done.results["more"]
            assert isinstance(more, Items)
            assert [array(each).tolist() for each in more.values] == [
                first.tolist(),
                x.tolist(),
                x.tolist(),
            ]
            assert array(done.results["there"]).tolist() is there
            short = done.results["short"]
            assert isinstance(short, Tensor)
            # A byte an element, its bits the lowest: ONNX casts -9 to int4 by its low bits.
            assert short.data is not None
            assert bytes(b & 0x0F for b in bytes(short.data)) == bytes([7, 15, 3, 7])
        whole = await compute.estimate(session.context, program.id, arguments)
        assert done.cost is not None
        assert whole.critical_cycles == done.cost.critical_cycles


@check
async def a_large_item_gets_a_buffer(compute: Compute, model: Model) -> None:
    x = np.zeros(bounds.INLINE_BYTES // 4 + 1, np.float32)
    x[-1] = 5
    async with opened(compute) as session:
        program = await session.load(model("containers"))
        place = BufferRange(await session.buffer(x.tobytes()))
        large = Tensor(DType.FLOAT32, x.shape, place=place)
        done = await session.launch(
            program.id,
            {"list": Items(()), "x": large, "perhaps": Nothing()},
            Result("more"),
        )
        more = done.results["more"]
        assert isinstance(more, Items)
        (item,) = more.values
        assert isinstance(item, Tensor)
        assert item.place is not None
        got = np.frombuffer(await session.bytes(item.place.buffer, 4, x.nbytes - 4), np.float32)
        assert got == 5
        await compute.free(session.context, item.place.buffer)


@check
async def wrong_containers_show_both_sides(compute: Compute, model: Model) -> None:
    x = tensor(np.ones(4, np.float32))
    wide = tensor(np.ones(4, np.float64))
    good: dict[str, Value] = {"list": Items((x,)), "x": x, "perhaps": Nothing()}
    wrong: list[tuple[str, Value, tuple[str, ...]]] = [
        ("list", x, ("sequence of float32", "tensor")),
        ("list", Nothing(), ("sequence of float32", "nothing")),
        ("list", Items((x, wide)), ("float32", "float64[4]")),
        ("list", Items((Items((x,)),)), ("float32", "items")),
        ("x", Items((x,)), ("float32[n]", "items")),
        ("x", Nothing(), ("float32[n]", "nothing")),
        ("perhaps", wide, ("float32", "float64[4]")),
    ]
    async with opened(compute) as session:
        program = await session.load(model("containers"))
        for number, (name, value, words) in enumerate(wrong, start=1):
            (done,) = await session.run(Launch(program.id, good | {name: value}), first=number)
            is_error(done.error, InvalidArgument, repr(name), *words)
        target = await compute.allocate(session.context, 100)
        placed = Launch(program.id, good, (Result("more", BufferRange(target)),))
        (done,) = await session.run(placed, first=len(wrong) + 1)
        is_error(done.error, Unsupported, "more: sequence of float32", "no place")
