"""Arrays of numbers that are computed with."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt

# Elements are float32 or float64 (or counts, or truths), as each docstring says.
Reals: TypeAlias = npt.NDArray[Any]
