"""Device memory as an app holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaccel import binding, errors, given, loop
from vaccel.model import Array, BufferRange, Tensor

if TYPE_CHECKING:
    from vaccel.client import Device


class Buffer:
    """Device memory of a context. Offsets and sizes are bytes."""

    def __init__(self, device: Device, number: int, size: int) -> None:
        self._device = device
        self._context = device._session.context
        self.id = number
        self.size = size

    def at(self, offset: int = 0) -> BufferRange:
        """A place in it, for commands. Raises DeviceLost where a reset of the VF ended it."""
        if self._context != self._device._session.context:
            raise errors.DeviceLost(
                f"buffer {self.id} of {self.size} bytes was lost when its VF was reset",
                hint="make it again",
            )
        return BufferRange(self.id, given.count("offset", offset))

    def tensor(self, dtype: str, shape: Sequence[int], offset: int = 0) -> Tensor:
        """A tensor at a place in it, to pass to a model without moving data."""
        kind, dims = given.element("tensor", dtype), given.shape("tensor", shape)
        return Tensor(kind, dims, place=self.at(offset))

    def __array__(self, *_: Any, **__: Any) -> Array:
        """It is none. Raises InvalidArgument with what to say instead."""
        raise errors.InvalidArgument(
            f"buffer {self.id} of {self.size} bytes is no array: it has neither type nor shape",
            hint="buffer.tensor('float32', shape) passes it to a model, buffer.read copies it out",
        )

    def write(self, array: Array, offset: int = 0) -> None:
        """Copy an array in. Raises InvalidArgument past the end."""
        queue = self._device._queue
        if queue is not None and isinstance(array, np.ndarray):
            from vaccel.fastpath import staging

            if (place := staging.place_of(queue, array)) is not None:
                self._check(offset, array.nbytes)
                # Whoever lent the window may have gone: then there is the other way.
                with contextlib.suppress(errors.Unavailable):
                    return staging.write(queue, place, self.at(offset), array.nbytes)
        data = memoryview(binding.tensor_of(np.asarray(array)).data or b"")
        self._check(offset, len(data))
        loop.run(self._device._session.write(self.at(offset), data))

    def read(self, dtype: str, shape: Sequence[int], offset: int = 0) -> Array:
        """Copy an array out. Raises InvalidArgument past the end."""
        tensor = self.tensor(dtype, shape, offset)
        self._check(offset, tensor.nbytes)
        data = loop.run(self._device._session.read(self.at(offset), tensor.nbytes))
        return binding.array_of(tensor, memoryview(data))

    def _check(self, offset: int, length: int) -> None:
        if given.count("offset", offset) + length > self.size:
            raise errors.InvalidArgument(
                f"{length} bytes at {offset} are not within buffer {self.id} of {self.size} bytes",
                hint="allocate a larger buffer, or move less",
            )

    def read_into(self, out: Array, offset: int = 0) -> Array:
        """Copy into an array, a staging array best of all; the array itself. In C order."""
        queue = self._device._queue
        if queue is not None:
            from vaccel.fastpath import staging

            if (place := staging.place_of(queue, out)) is not None:
                self._check(offset, out.nbytes)
                with contextlib.suppress(errors.Unavailable):
                    staging.read(queue, place, self.at(offset), out.nbytes)
                    return out
        np.copyto(out, self.read(out.dtype.name, out.shape, offset))
        return out

    def free(self) -> None:
        """Give it back."""
        loop.run(self._device._session.free(self.id))
