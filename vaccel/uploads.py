"""A model on its way to a VF: its bytes, and the files of its external data, as one upload.

Files are read piece by piece as they travel, so that a program that loads a model of many GiB
holds next to nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vaccel import bounds, external_data
from vaccel.compute import Blob, OnnxSource
from vaccel.errors import InvalidArgument, InvalidModel

# Each part begins at a multiple of this, so that what is aligned in a file is so in memory.
_ALIGNMENT: Final = 64
_VXP: Final = b"\x93VXP"
Data = bytes | memoryview | os.PathLike[str] | str


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model by its bytes or its file, and where its external data is, by location.

    Data that is not named is looked for beside the model's file.
    """

    model: memoryview | Path
    data: Mapping[str, Data] = field(default_factory=dict)
    arithmetic: str = ""
    max_error: float = 0.0

    @property
    def is_file(self) -> bool:
        """Whether any of it may have changed since it was loaded."""
        parts = (self.model, *self.data.values())
        return any(not isinstance(each, bytes | memoryview) for each in parts)

    def __str__(self) -> str:
        return repr(str(self.model)) if isinstance(self.model, Path) else "of bytes"

    @contextmanager
    def opened(self) -> Iterator[Upload]:
        """The upload, while its files are open.

        Raises InvalidArgument for a file that cannot be read, InvalidModel for a model that is
        empty or that refers to anything but files within its folder.
        """
        with ExitStack() as files:
            names = list(self.data)
            if isinstance(self.model, Path):
                data = _read(self.model)
                if not data.startswith(_VXP):
                    found = external_data.locations(data)
                    names += [name for name in found if name not in self.data]
                model = memoryview(data)
            else:
                model = self.model
            if not model:
                raise InvalidModel(f"model {self} is empty", hint="export it again")
            parts = [_Part("", model, len(model))]
            parts += [self._part(name, files) for name in names]
            yield Upload(tuple(parts), self.arithmetic, self.max_error)

    def _part(self, name: str, files: ExitStack) -> _Part:
        given = self.data.get(name)
        if isinstance(given, bytes | memoryview):
            view = memoryview(given).cast("B")
            return _Part(name, view, len(view))
        if given is None:
            assert isinstance(self.model, Path)  # only files have neighbours
            fd = external_data.open_beside(self.model.parent, name)
        else:
            try:
                fd = os.open(given, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as fault:
                raise InvalidArgument(f"data {str(given)!r}: {fault.strerror}") from None
        files.callback(os.close, fd)
        return _Part(name, fd, os.fstat(fd).st_size)


@dataclass(frozen=True, slots=True)
class _Part:
    """``source`` is bytes, or the descriptor of an open file."""

    name: str
    source: memoryview | int
    size: int


class Upload:
    """Parts one behind the other: the model, then its data."""

    def __init__(
        self, parts: tuple[_Part, ...], arithmetic: str = "", max_error: float = 0.0
    ) -> None:
        self._arithmetic, self._max_error = arithmetic, max_error
        self._parts = parts
        self._starts: list[int] = []
        end = 0
        for part in parts:
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            self._starts.append(start)
            end = start + part.size
        self.size = end

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Names and bytes of the parts; the model's name is ""."""
        return [(part.name, part.size) for part in self._parts]

    def chunks(self) -> Iterator[tuple[int, int, int]]:
        """(part, offset in it, bytes) of pieces of at most bounds.CHUNK_BYTES."""
        for index, part in enumerate(self._parts):
            for at in range(0, part.size, bounds.CHUNK_BYTES):
                yield index, at, min(bounds.CHUNK_BYTES, part.size - at)

    def place(self, index: int, at: int) -> int:
        """Where in the upload a place of a part is."""
        return self._starts[index] + at

    def read(self, index: int, at: int, count: int) -> bytes:
        """Bytes of a part. Raises InvalidArgument where its file was cut short meanwhile."""
        part = self._parts[index]
        if not isinstance(part.source, int):
            return bytes(part.source[at : at + count])
        data = os.pread(part.source, count, at)
        if len(data) != count:
            raise InvalidArgument(f"data {part.name!r} changed while it was read")
        return data

    def source(self, buffer: int) -> OnnxSource:
        """What a load says of the upload, which it takes over."""
        blobs = tuple(
            Blob(part.name, start, part.size)
            for part, start in zip(self._parts[1:], self._starts[1:], strict=True)
        )
        size, asked = self._parts[0].size, (self._arithmetic, self._max_error)
        return OnnxSource(buffer, 0, size, blobs, True, *asked)


def _read(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as fault:
        raise InvalidArgument(
            f"model {str(model)!r}: {fault.strerror}", hint="give the path of an ONNX file"
        ) from None
