"""Einsum as a product of matrices, where it is one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from host_daemon.core.device import Operation
from vaccel.model import Shape


def contraction(operation: Operation) -> tuple[int, int, int, int] | None:
    """(batch, M, N, K) of an Einsum of two operands; None where it is no such product.

    Letters of both operands and the result are batches, of both but not the result are summed, of
    one and the result its rows or columns. An ellipsis, a letter twice in an operand, and a sum
    within one operand are for the vector core.
    """
    text = str(operation.attributes.get("equation", "")).replace(" ", "")
    terms, arrow, result = text.partition("->")
    operands = terms.split(",")
    if not arrow or len(operands) != 2 or "." in text or len(operation.inputs) != 2:
        return None
    left, right = operands
    sides = _sizes(operation, (left, right))
    if sides is None or any(len(set(each)) != len(each) for each in (left, right, result)):
        return None
    shared, alone = set(left) & set(right), set(left) ^ set(right)
    if not alone <= set(result) or not set(result) <= shared | alone:
        return None

    def count(letters: set[str]) -> int:
        return math.prod(sides[letter] for letter in letters)

    summed = shared - set(result)
    if not summed:
        return None  # an outer product: nothing is added up
    batch = count(shared - summed)
    return batch, count(set(left) - shared), count(set(right) - shared), count(summed)


def _sizes(operation: Operation, terms: tuple[str, str]) -> Mapping[str, int] | None:
    found: dict[str, int] = {}
    for term, spec in zip(terms, operation.inputs, strict=True):
        shape: Shape = spec[1] if spec is not None else ()
        if len(shape) != len(term):
            return None
        for letter, side in zip(term, shape, strict=True):
            found[letter] = max(side, found.get(letter, 1)) if side else 0
    return found


def multiplies(operation: Operation) -> int:
    """Multiply-adds of any Einsum, operand by operand from the left as kernels do it; what neither
    the result nor a later operand has is summed at once.
    """
    text = str(operation.attributes.get("equation", "")).replace(" ", "").replace("...", ".")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operation.inputs):
        return 0
    sizes: dict[str, int] = {}
    for term, spec in zip(terms, operation.inputs, strict=True):
        for letter, side in _spread(term, spec[1] if spec is not None else ()):
            sizes[letter] = max(side, sizes.get(letter, 1)) if side else 0
    if not arrow:
        result = "".join(letter for letter in set(left) - {","} if left.count(letter) == 1) + "."
    total, held = 0, set(terms[0])
    for index, term in enumerate(terms[1:], 2):
        letters = held | set(term)
        total += math.prod(sizes.get(letter, 1) for letter in letters)
        held = letters & set(result).union(*terms[index:])
    return total or math.prod(sizes.values())


def _spread(term: str, shape: Shape) -> Iterator[tuple[str, int]]:
    """Letters with their sizes; "." is all that an ellipsis stands for."""
    before, dot, after = term.partition(".")
    last = len(shape) - len(after)
    yield from zip(before, shape, strict=False)
    if dot:
        yield ".", math.prod(shape[len(before) : last])
    yield from zip(after, shape[max(last, 0) :], strict=False)
