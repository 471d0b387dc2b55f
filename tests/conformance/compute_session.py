"""What the checks of the compute suite share: a context with helpers, and how errors are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import numpy as np

from vaccel import bounds
from vaccel.commands import (
    Command,
    Completion,
    Launch,
    Result,
)
from vaccel.compute import Compute, OnnxSource, Program
from vaccel.errors import (
    VaccelError,
)
from vaccel.model import DType, Tensor, Value

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
