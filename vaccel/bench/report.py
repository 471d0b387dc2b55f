"""What a guest program sends back: one JSON object, arrays as an npz archive in base 64."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaccel.errors import HostFault

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """A workload's run: ``cycles``, ``device_ns`` and ``joules`` summed over its launches."""

    model: str
    answer: str
    launches: int
    cycles: int
    device_ns: int
    joules: float
    load_ms: float
    wall_ms: float
    outputs: Arrays = field(default_factory=dict)


def pack(rows: Sequence[Row]) -> str:
    """Rows as one line of JSON."""
    return json.dumps({"rows": [asdict(row) | {"outputs": _packed(row.outputs)} for row in rows]})


def unpack(text: str) -> list[Row]:
    """Rows from the JSON of ``pack``. Raises HostFault where it is something else."""
    try:
        rows = json.loads(text)["rows"]
        return [Row(**row | {"outputs": _unpacked(row["outputs"])}) for row in rows]
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as fault:
        raise HostFault(
            f"the guest program answered {text[:80]!r}, which is no report: {fault}",
            hint="is the guest's vaccel the same version as the host's?",
        ) from fault


def _packed(arrays: Arrays) -> str:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _unpacked(text: str) -> dict[str, NDArray[Any]]:
    archive = io.BytesIO(base64.b64decode(text, validate=True))
    with np.load(archive, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
