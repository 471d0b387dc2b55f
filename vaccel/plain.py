"""Calls with nothing but plain arrays, told apart by what decides whether they suit a program.

What was bound once needs no second look: the next call with arrays of the same names, element types
and shapes suits as well, whatever is in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaccel.model import Array

# How many are by position, the names of the others, and of each its dtype and shape.
Key = tuple[Any, ...]


def read(args: Sequence[Any], named: Mapping[str, Any]) -> tuple[Key | None, Sequence[Array]]:
    """The key of a call, and its arrays in order; None where something else than arrays in C order
    was given.
    """
    if not named and len(args) == 1 and type(whole := args[0]) is dict:
        args, named = (), whole
    arrays = (*args, *named.values())
    key: list[Any] = [len(args), *named]
    for array in arrays:
        if type(array) is not np.ndarray or not array.flags.c_contiguous:
            return None, ()
        key.append(array.dtype)
        key.append(array.shape)
    return tuple(key), arrays


def lasts(arrays: Sequence[Array]) -> bool:
    """Whether later arrays of such a key travel as they are: their bytes can be read in place, in
    this machine's order.
    """
    return all(each.dtype.kind in "biuf" and each.dtype.isnative for each in arrays)
