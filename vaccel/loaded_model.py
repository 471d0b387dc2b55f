"""A model on a device: what it takes and gives, one call or several under way at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from vaccel import batches, binding, bounds, given, loop, placing, plain
from vaccel.commands import Result
from vaccel.compute import Program
from vaccel.errors import InvalidArgument, TimedOut
from vaccel.model import Cost, Costing, Port, Tensor, Value
from vaccel.placing import Place

if TYPE_CHECKING:
    from vaccel.client import Device

# Calls that ``map`` has under way: one computes while others travel.
_AHEAD: Final = 4


class Outputs(dict[str, Any]):
    """A model's outputs by name, and what the launch would have cost the device.

    An output is an array; a sequence is a list of them, a map a dict, an empty optional None. One
    that was placed in device memory is a ``Tensor`` there, to be passed to the next call.
    """

    def __init__(self, arrays: Mapping[str, Any], cost: Cost | Costing) -> None:
        super().__init__(arrays)
        # Few ask: what reads it does so when somebody does.
        self.costing: Costing = (lambda: cost) if isinstance(cost, Cost) else cost

    @cached_property
    def cost(self) -> Cost:
        """What the launch would have cost the device."""
        return self.costing()

    def __reduce__(self) -> tuple[Any, ...]:
        return Outputs, (dict(self), self.cost)


class Call:
    """A call under way. From a coroutine, ``await`` it; from elsewhere ask for its result."""

    def __init__(self, future: concurrent.futures.Future[Outputs]) -> None:
        self._future = future

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def result(self, timeout: float = bounds.WAIT_SECONDS) -> Outputs:
        """The outputs, when they are there. Raises the call's error, or TimedOut.

        After TimedOut the work goes on, and may be waited for again.
        """
        try:
            return self._future.result(given.seconds("timeout", timeout))
        except concurrent.futures.TimeoutError:
            if self._future.done():
                raise
            raise TimedOut(
                f"the call is not done after {timeout:g} s", hint="wait again: the work goes on"
            ) from None

    def __await__(self) -> Generator[Any, None, Outputs]:
        # One who stops waiting does not end the work: others' calls are in the same stream.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()


class Model:
    """A program on a device. Call it with arrays, by name or by position."""

    def __init__(self, device: Device, name: str, program: Program) -> None:
        self._device = device
        self._program = program
        self.name = name
        self._last: Costing = Cost

    @property
    def last_cost(self) -> Cost:
        """What the last call would have cost the device; of several at once, the one that ended
        last.
        """
        return self._last()

    @property
    def id(self) -> int:
        """The program's number within the context; another one after a reset of the VF."""
        return self._device._session.programs.number(self._program.id)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What it takes: names, element types, and shapes with their symbols."""
        return self._program.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What it gives."""
        return self._program.outputs

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that it keeps in device memory."""
        return self._program.weight_bytes

    def __repr__(self) -> str:
        takes, gives = map(binding.signature_text, (self.inputs, self.outputs))
        return f"<vaccel.Model {self.name}: ({takes}) -> ({gives})>"

    def _bind(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Value]:
        only = self.inputs[0] if self.inputs else None
        whole = args[0] if len(args) == 1 else None
        if isinstance(whole, Mapping) and not (only and only.containers):
            return binding.bind(self.inputs, (), {**whole, **named})
        return binding.bind(self.inputs, args, named)

    def _placed(self, out: Mapping[str, Place] | None) -> tuple[Result, ...]:
        if out is None:
            return ()
        self._device._refresh()
        return placing.results_of(self._device, self.outputs, out)

    def __call__(
        self,
        *args: Any,
        timeout: float = bounds.WAIT_SECONDS,
        out: Mapping[str, Place] | None = None,
        **named: Any,
    ) -> Outputs:
        """Run it, with arrays by position, by name, or in one mapping by name.

        ``out`` has places in device memory by name of output: a buffer, ``buffer.at(offset)``, or
        a tensor there. What is placed stays there, and comes back as a ``Tensor`` with its shape.
        All inputs are read before any output is put into its place, so that the two may overlap.

        Raises InvalidArgument before anything travels, with expected and given side by side.
        """
        limit = given.seconds("timeout", timeout)
        key, arrays = plain.read(args, named)
        done = None
        if key is not None and out is None:
            done = self._device._call_again(self._program.id, key, arrays, limit)
        if done is None:
            values = self._bind(args, named)
            results = self._placed(out)
            done = self._device._call(
                self._program.id,
                values,
                limit,
                results,
                key=None if results or not plain.lasts(arrays) else key,
                small=placing.fit_a_reply(self.outputs, results),
            )
        found, cost = done
        self._last = cost
        return Outputs(self._in_order(found), cost)

    def _in_order(self, results: Mapping[str, Any]) -> Mapping[str, Any]:
        """Results in the order of the outputs, whichever came first."""
        if len(results) < 2:
            return results
        return {port.name: results[port.name] for port in self.outputs if port.name in results}

    def submit(
        self, *args: Any, out: Mapping[str, Place] | None = None, **named: Any
    ) -> Call:
        """Start a call and return at once; inputs and ``out`` are checked now, as by a call.

        Calls run in the order in which they arrive, at most ``bounds.CALLS_IN_FLIGHT`` of a device
        beside one another. Arrays must not change until their call is done.
        """
        return Call(loop.start(self._queued(self._bind(args, named), self._placed(out))))

    async def _queued(self, values: Mapping[str, Value], results: Sequence[Result]) -> Outputs:
        arrays, cost = await self._device._session.queue(self.id, values, results)
        made = Outputs(self._in_order(arrays), cost)
        self._last = made.costing
        return made

    def map(self, items: Iterable[Any], *, ahead: int = _AHEAD) -> Iterator[Outputs]:
        """Outputs for each of many inputs, in order, with some calls under way ahead.

        An item is an array for the only input, a tuple by position, or a mapping by name.
        """
        given.count("ahead", ahead, 1)
        if not isinstance(items, Iterable):
            raise InvalidArgument(
                f"map: a {type(items).__name__} gives no inputs", hint="give a list, say"
            )
        calls: deque[Call] = deque()
        for item in items:
            calls.append(self.submit(*(item if isinstance(item, tuple) else (item,))))
            if len(calls) >= ahead:
                yield calls.popleft().result()
        while calls:
            yield calls.popleft().result()

    def in_batches(self, rows: int, *args: Any, **named: Any) -> Outputs:
        """One call for more rows than go at once: cut along the batch, run, and put together.

        The batch is the symbol that the first input begins with. Inputs that begin with it are
        cut, others go whole; every output must begin with it. The cost is that of all parts.
        Raises InvalidArgument where the signature has no such symbol.
        """
        values = self._bind(args, named)
        symbol = batches.symbol_of(self.inputs, self.outputs)
        parts = batches.cut(self.inputs, values, symbol, rows)
        return Outputs(*batches.join(list(self.map(parts))))

    def estimate(self, *args: Any, **named: Any) -> Cost:
        """What a call with such inputs would cost, without running it."""
        values = self._bind(args, named)
        shapes = {
            name: Tensor(v.dtype, v.shape, data=v.data if v.nbytes <= bounds.KIB else None)
            if isinstance(v, Tensor)
            else v
            for name, v in values.items()
        }
        return loop.run(self._device._session.estimate(self.id, shapes))

    def unload(self) -> None:
        """Forget it."""
        loop.run(self._device._session.unload(self.id))
