"""Einsum as vectors times a matrix that stays, where its equation says no more than that.

Of two terms, such as ``bsd,dhk->bshk``: labels that both have are summed over, those of the data
alone make vectors, those of the weights alone make outputs. Labels may stand in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from vaccel.errors import InvalidArgument
from vaccel.model import Array, Shape

# An equation has at most 52 letters a term; longer ones are none.
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class Contraction:
    """An equation's labels: of the data, of the weights, of the output, and those summed over."""

    data: str
    weights: str
    output: str
    summed: str  # in the order in which the weights have them

    @property
    def batch(self) -> str:
        """Labels that make vectors, in the data's order."""
        return "".join(label for label in self.data if label not in self.summed)

    @property
    def free(self) -> str:
        """Labels that make outputs, in the weights' order."""
        return "".join(label for label in self.weights if label not in self.summed)

    def matrix_shape(self, shape: Shape) -> tuple[int, int] | None:
        """Inputs and outputs of weights of this shape; None where it does not fit."""
        if len(shape) != len(self.weights):
            return None
        sizes = dict(zip(self.weights, shape, strict=True))
        inputs, outputs = (math.prod(sizes[x] for x in part) for part in (self.summed, self.free))
        return inputs, outputs

    def matrix(self, weights: Array) -> Array:
        """Weights as (inputs, outputs)."""
        order = [self.weights.index(label) for label in self.summed + self.free]
        moved = weights.transpose(order)
        return moved.reshape(math.prod(moved.shape[: len(self.summed)]), -1)

    def vectors(self, data: Array, shape: Shape) -> tuple[Array, Shape]:
        """Data as (vectors, inputs), and the shape of batch and free labels that results take.

        Raises InvalidArgument where the data does not fit weights of ``shape``.
        """
        sizes = dict(zip(self.weights, shape, strict=True))
        known = dict(zip(self.data, data.shape, strict=False))
        if data.ndim != len(self.data) or any(known[x] != sizes[x] for x in self.summed):
            raise InvalidArgument(
                f"Einsum: shapes {list(data.shape)} and {list(shape)} do not fit"
                f" {self.data},{self.weights}->{self.output}"
            )
        moved = data.transpose([self.data.index(label) for label in self.batch + self.summed])
        inputs = math.prod(sizes[x] for x in self.summed)
        full = (*(known[x] for x in self.batch), *(sizes[x] for x in self.free))
        return moved.reshape(-1, inputs), full

    def count(self, shape: Shape) -> int:
        """How many vectors data of this shape has."""
        known = dict(zip(self.data, shape, strict=False))
        return math.prod(known.get(label, 1) for label in self.batch)

    def finish(self, result: Array) -> Array:
        """Results of batch and free labels in the order that the output has."""
        made = self.batch + self.free
        return result.transpose([made.index(label) for label in self.output])


def contraction(equation: Any) -> Contraction | None:
    """The labels of an equation; None where it is no product of vectors with one matrix."""
    text = str(equation).replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(text) > _MOST or len(terms) != 2 or not all(each.isalpha() for each in terms):
        return None
    data, weights = terms
    if not arrow:
        output = "".join(sorted(x for x in set(left) - {","} if left.count(x) == 1))
    if any(len(set(each)) != len(each) for each in (data, weights, output)):
        return None
    summed = "".join(label for label in weights if label in data)
    alone = set(data) ^ set(weights)
    if not summed or set(output) != alone:
        return None
    return Contraction(data, weights, output, summed)
