"""Accuracy as a contract: what a card does for a node that demands a largest error.

The error is relative: the root of the mean square of (what tiles gave - exact product), over that
of the exact product, for normal inputs. It is measured by multiplying test vectors when the
weights are written, and again when the clock has moved. Past the demand the card first measures
and compensates drift, then writes the cells anew, and else refuses: no launch gives results that
it knows to be too far off. Each step is metered.
"""

from __future__ import annotations

from host_daemon.core.device import MAX_ERROR, NodeCost, Operation
from host_daemon.devices.nvm.energy import Machine
from host_daemon.devices.nvm.resident import CALIBRATION, Resident
from host_daemon.devices.nvm.writing import Writer
from vaccel.errors import Exhausted, InvalidArgument, Unsupported


def most_error(operation: Operation) -> float | None:
    """The error that a node accepts; None where it demands nothing. Raises InvalidArgument."""
    given = operation.attributes.get(MAX_ERROR)
    if given is None:
        return None
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 < value < float("inf"):
        raise InvalidArgument(
            f"{operation.op}: {MAX_ERROR} = {str(given)[:80]!r} is not a positive number",
            hint="such as 0.05: five percent of the result's size",
        )
    return value


def keep(resident: Resident, writer: Writer, machine: Machine, now: float) -> list[NodeCost]:
    """Bring a matrix within its demand; what that cost. Raises Unsupported where nothing does.

    A matrix that fails is measured again at the next launch: the clock may stand, the demand too.
    """
    spent = _keep(resident, writer, machine, now)
    resident.kept_at = now
    return spent


def _keep(resident: Resident, writer: Writer, machine: Machine, now: float) -> list[NodeCost]:
    assert resident.most_error is not None  # who demands nothing is not asked
    spent = [_measure(resident, machine, now)]
    if resident.expected <= resident.most_error:
        return spent
    first = resident.expected
    spent.append(machine.calibrating(resident.grid, resident.recalibrate(now), CALIBRATION))
    spent.append(_measure(resident, machine, now))
    if resident.expected <= resident.most_error:
        return spent
    why = ""
    try:
        written = writer.refresh(resident.placed, resident.weights, now)
        spent.append(machine.writing(written.seconds, written.joules, resident.weights.nbytes))
        spent.append(machine.calibrating(resident.grid, resident.recalibrate(now), CALIBRATION))
        spent.append(_measure(resident, machine, now))
    except Exhausted as fault:
        why = f"; it cannot be written anew: {fault.message}"
    if resident.expected <= resident.most_error:
        return spent
    best = resident.expected
    resident.stale()
    resident.expected = best
    raise Unsupported(
        f"{resident.name} ({resident.operation.op}): {MAX_ERROR} = {resident.most_error:g}, but"
        f" this card reaches {best:.4g} (found {first:.4g}){why}",
        hint="demand less, or use a card with better cells or digital arithmetic",
    )


def _measure(resident: Resident, machine: Machine, now: float) -> NodeCost:
    _, counts = resident.probe(now)
    return machine.reading(resident.grid, counts)
