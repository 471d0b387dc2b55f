"""The port of device kinds: what an emulated (or real) card must be able to say and do.

Life
    A ``Kind`` parses a card file into a ``Card`` once, at start-up. For each VF a worker asks the
    card for a ``DeviceModel`` of a profile: what that slice owns. The compiler lowers every node of
    a program to an ``Operation`` with concrete shapes; the model answers with its ``Cost`` in
    closed form (microseconds), and may run the operation itself where the device's arithmetic
    differs from the fp32 kernels. When a VF moves, its model's state is saved here and restored
    there.

Numbers
    Cycles are of the device's clock; bytes are counted at the memory level named; joules by
    component. A model's answers depend on its arguments only: no clock, no randomness, no state of
    a neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from vaccel.errors import Exhausted
from vaccel.inventory import Figure
from vaccel.model import Array, Cost, DType, Profile, Shape

# A program asks for an arithmetic other than its element type's by this attribute of an operation.
ARITHMETIC: Final = "vaccel.arithmetic"
# What tiles of cells compute in: results are near the exact ones, and how near is measured.
ANALOG: Final = "analog"
# Likewise, of a device whose numbers are not exact: the largest relative error that a node accepts,
# and the range of its weights, beyond which they are clipped.
MAX_ERROR: Final = "vaccel.max_error"
WEIGHT_LIMIT: Final = "vaccel.weight_limit"
# What the full scale of its DACs stands for: the largest of each vector, a limit, or one from data.
INPUT_RANGE: Final = "vaccel.input_range"
INPUT_LIMIT: Final = "vaccel.input_limit"
# How the resistance of an analog card's wires is solved: in closed form, or node by node.
WIRES: Final = "vaccel.wires"
EXACT: Final = "exact"
SOLUTIONS: Final = ("closed", EXACT)
# What a node's metadata may say to a device.
DEMANDS: Final = frozenset({MAX_ERROR, WEIGHT_LIMIT, INPUT_RANGE, INPUT_LIMIT, WIRES})


class NoRoom(Exhausted):
    """What other weights take leaves no place for these: the node's other arithmetic will do.

    ``DeviceModel.keep`` raises it; whoever hands it on beyond the compiler makes it an Exhausted.
    """


@dataclass(frozen=True, slots=True)
class Operation:
    """One node with all that decides its cost. ``op`` is ONNX's name, such as MatMul or Conv."""

    op: str
    inputs: tuple[tuple[DType, Shape] | None, ...]
    outputs: tuple[tuple[DType, Shape] | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    # Inputs that are weights of the program: they are in DRAM, and may stay in SRAM between
    # launches.
    constant_inputs: frozenset[int] = frozenset()
    domain: str = ""
    # The name under which the device keeps this node's weights (see ``DeviceModel.keep``).
    resident: str = ""


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one operation costs: where it runs, busy cycles per unit, and its critical path.

    ``note`` says in the device's own words what runs there; empty where there is no more to say.
    """

    place: str  # array, vector, banks or host
    critical_cycles: int
    cycles: Mapping[str, int]
    bytes: Mapping[str, int]
    joules: Mapping[str, float]  # dynamic energy; static energy is added over device time
    macs: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as its file describes it.

    What all kinds have in common, and the kind's own ``parameters``.
    """

    name: str
    kind: str
    vendor: str
    cores: int
    clock_hz: float
    memory_bytes: int
    bandwidth_bytes_per_second: int
    profiles: tuple[Profile, ...]
    arithmetic: tuple[str, ...]
    source: str
    parameters: Any
    # What the card is said to do, each with its source: shown to people, compared by benchmarks.
    figures: tuple[Figure, ...] = ()
    # Non-volatile cells of a core, in bytes of the host's file for them: see ``core.lasting``.
    cell_bytes: int = 0
    cell_layout: int = 1  # which version of what lies there this is


class DeviceModel(Protocol):
    """What one VF owns of a card."""

    @property
    def clock_hz(self) -> float:
        """The clock of all cycles here."""

    @property
    def arithmetic(self) -> Sequence[str]:
        """Element types that the arrays compute in."""

    @property
    def idle_watts(self) -> float:
        """What the slice draws while it has nothing to do."""

    def cost(self, operation: Operation) -> NodeCost:
        """The closed form. Raises Unsupported where the device has no way to do the operation."""

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        """One launch of nodes in order.

        Their sum, launch overhead, and static energy over its time.
        """

    def computes(self, operation: Operation) -> bool:
        """Whether ``run`` is to compute such a node of a program of several.

        Asked when a program is compiled: a dimension that is not known yet is -1, a shape whose
        rank is not known is empty. False: the common fp32 kernels are already the device's
        arithmetic, or only a program of one node is computed here.
        """

    def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
        """Put a node's constant inputs where the device keeps them, as ``operation.resident``.

        Called once per node when a program is loaded, for nodes that the device computes. The name
        is of the model's bytes and the node: what is kept already has one more user, and goes when
        it was dropped as often as it was kept.
        ``weights`` are by index of input. The cost is of writing them; None where this device
        keeps weights in its memory as all else. Raises NoRoom where others' weights take
        their place, Exhausted where there is none that can be written, InvalidArgument
        naming a weight that cannot be kept.
        """

    def drop(self, resident: str) -> None:
        """Forget what was kept under a name. Dropping what is not there is no error."""

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """Compute in the device's own arithmetic.

        None where the common fp32 kernels are already that. An input that is resident may be None.
        """

    def save(self) -> bytes:
        """All that later answers depend on beside their arguments, as ``devices.state`` packs it.

        At most bounds.DEVICE_STATE_BYTES. Device memory is not part of it: the worker moves that.
        """

    def restore(self, state: bytes) -> None:
        """Go on from a saved state.

        Raises InvalidArgument naming field and value where it is another card's or broken; the
        device is then as it was.
        """


@dataclass(frozen=True, slots=True)
class Rounding:
    """An arithmetic as roundings around the common kernels: operands are rounded once to
    ``operand`` as they enter the array, and results to ``result`` as they leave it.

    ``operand`` INT8 are integers with scales, whose sums in int32 are exact.
    """

    operand: DType
    result: DType


@runtime_checkable
class Rounds(Protocol):
    """What a device adds to the port some of whose arithmetic the common kernels can compute."""

    @property
    def roundings(self) -> Mapping[str, Rounding]:
        """Those, by name; of all others ``run`` computes."""


@dataclass(frozen=True, slots=True)
class Epilogue:
    """An element-wise node behind a product. Input ``through`` is the result of the node before it;
    the others are constants, or of the shape of the result.
    """

    operation: Operation
    through: int


@runtime_checkable
class Fuses(Protocol):
    """What a device adds to the port that computes on a product's result before it is written."""

    def fused(self, product: Operation, behind: Sequence[Epilogue]) -> Sequence[NodeCost]:
        """What a product costs and, one by one, as many of the nodes behind it as are fused with
        it, from the first on. Empty where none is: they cost together no more than one by one.
        """


class Kind(Protocol):
    """A family of cards. Found by the entry point group ``vaccel.devices``."""

    name: str

    def prove(self) -> None:
        """Self-tests of what the kind computes by, once per host, before workers are forked.

        May take a second; leaves no thread behind. Raises HostFault where this CPU fails them.
        """

    def card(self, table: Mapping[str, Any], where: str) -> Card:
        """Check a card file.

        Raises InvalidArgument naming the field, its value and the file ``where``.
        """

    def model(self, card: Card, profile: Profile) -> DeviceModel:
        """The model of what a VF of this profile owns."""
