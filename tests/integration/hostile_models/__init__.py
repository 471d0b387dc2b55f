"""Models that mean harm, each with what is said of it. None of them may be loaded.

Each case: what the model's author tried, the bytes, the error, and words that its text must hold:
the node or tensor at fault, and why.
"""

from __future__ import annotations

from tests.integration.hostile_models import names, operators, outside, sizes, structure

CASES = [
    *outside.CASES,
    *sizes.CASES,
    *structure.CASES,
    *operators.CASES,
    *names.CASES,
]
