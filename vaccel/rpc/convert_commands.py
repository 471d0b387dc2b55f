"""Commands, completions and costs to messages and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from vaccel import commands, compute, errors
from vaccel.model import Cost
from vaccel.rpc.convert import error_of, to_error
from vaccel.rpc.convert_values import range_of, to_range, to_value, to_values, values_of
from vaccel.v1 import compute_pb2, types_pb2


def _copy_of(copy: Any) -> commands.Command:
    return commands.Copy(range_of(getattr(copy, "from")), range_of(copy.to), copy.length)


def results_of(messages: Iterable[compute_pb2.Result]) -> tuple[commands.Result, ...]:
    """Outputs that are asked for, and their places."""
    return tuple(
        commands.Result(each.name, range_of(each.to) if each.HasField("to") else None)
        for each in messages
    )


def to_results(results: Iterable[commands.Result]) -> list[compute_pb2.Result]:
    """The same as they travel."""
    return [
        compute_pb2.Result(
            name=each.name, to=None if each.place is None else to_range(each.place)
        )
        for each in results
    ]


def _launch_of(launch: compute_pb2.Launch) -> commands.Command:
    arguments = values_of(launch.arguments, "argument")
    return commands.Launch(launch.program, arguments, results_of(launch.results))


_COMMANDS: Final[dict[str, Callable[[Any], commands.Command]]] = {
    "nop": lambda _: commands.Nop(),
    "copy": _copy_of,
    "fill": lambda fill: commands.Fill(range_of(fill.to), fill.length, fill.pattern),
    "store": lambda store: commands.Store(range_of(store.to), store.data),
    "launch": _launch_of,
    "signal": lambda signal: commands.Signal(signal.stream, signal.fence),
    "wait": lambda wait: commands.WaitFence(wait.stream, wait.fence, wait.context),
}


def command_of(message: compute_pb2.Command) -> commands.Command:
    """A command; its ranges and programs are checked by the executor."""
    kind = message.WhichOneof("command")
    if kind is None:
        raise errors.InvalidArgument("submit: a command that says nothing this side knows")
    return _COMMANDS[kind](getattr(message, kind))


def to_command(command: commands.Command) -> compute_pb2.Command:
    """A command as it travels. Raises InvalidArgument for what is none."""
    message = compute_pb2.Command()
    match command:
        case commands.Nop():
            message.nop.SetInParent()
        case commands.Copy():
            getattr(message.copy, "from").CopyFrom(to_range(command.source))
            message.copy.to.CopyFrom(to_range(command.target))
            message.copy.length = command.length
        case commands.Fill():
            message.fill.to.CopyFrom(to_range(command.target))
            message.fill.length = command.length
            message.fill.pattern = command.pattern
        case commands.Store():
            message.store.to.CopyFrom(to_range(command.target))
            message.store.data = command.data
        case commands.Launch():
            message.launch.program = command.program
            for name, value in command.arguments.items():
                message.launch.arguments[name].CopyFrom(to_value(value))
            message.launch.results.extend(to_results(command.results))
        case commands.Signal():
            message.signal.stream, message.signal.fence = command.stream, command.fence
        case commands.WaitFence():
            message.wait.stream, message.wait.fence = command.stream, command.fence
            message.wait.context = command.context
        case _:
            raise errors.InvalidArgument(
                f"submit: a {type(command).__name__} is no command",
                hint="vaccel.commands has them all",
            )
    return message


def cost_of(message: types_pb2.Cost) -> Cost:
    """What a launch would have cost."""
    return Cost(
        dict(message.cycles),
        dict(message.bytes),
        dict(message.joules),
        dict(message.nodes),
        message.critical_cycles,
        message.start_ns,
        message.end_ns,
    )


def to_cost(cost: Cost) -> types_pb2.Cost:
    """A cost as it travels."""
    return types_pb2.Cost(
        cycles=dict(cost.cycles),
        bytes=dict(cost.bytes),
        joules=dict(cost.joules),
        nodes=dict(cost.nodes),
        critical_cycles=cost.critical_cycles,
        start_ns=cost.start_ns,
        end_ns=cost.end_ns,
    )


def completion_of(message: compute_pb2.Completion) -> commands.Completion:
    """What became of a command."""
    return commands.Completion(
        message.fence,
        error_of(message.error) if message.HasField("error") else None,
        cost_of(message.cost) if message.HasField("cost") else None,
        values_of(message.results, "result"),
    )


def to_completion(completion: commands.Completion) -> compute_pb2.Completion:
    """A completion as it travels."""
    return compute_pb2.Completion(
        fence=completion.fence,
        error=None if completion.error is None else to_error(completion.error),
        cost=None if completion.cost is None else to_cost(completion.cost),
        results=to_values(completion.results),
    )


def progress_of(message: compute_pb2.WaitReply) -> compute.Progress:
    """How far a stream is."""
    return compute.Progress(message.reached, tuple(map(completion_of, message.completions)))


def to_progress(progress: compute.Progress) -> compute_pb2.WaitReply:
    """How far a stream is, as it travels."""
    return compute_pb2.WaitReply(
        reached=progress.reached, completions=map(to_completion, progress.completions)
    )
