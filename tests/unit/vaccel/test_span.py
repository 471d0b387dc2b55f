"""How long calls are expected to take."""

from __future__ import annotations

from vaccel.fastpath.span import Spans

KIND = (1, 4096)
MS = 1_000_000


def test_what_is_not_known_is_looked_at_from_the_start() -> None:
    assert Spans().quiet(KIND) == 0


def test_nearly_all_of_the_fastest_is_waited_quietly() -> None:
    spans = Spans()
    for served in (900 * MS, 100 * MS, 120 * MS):
        spans.note(KIND, served)
    assert abs(spans.quiet(KIND) - 0.0985) < 1e-9


def test_what_was_faster_once_is_forgotten() -> None:
    spans = Spans()
    for served in (MS, *[100 * MS] * 4):
        spans.note(KIND, served)
    assert abs(spans.quiet(KIND) - 0.0985) < 1e-9


def test_other_sizes_are_other_calls_and_not_kept_without_end() -> None:
    spans = Spans()
    for size in range(10_000):
        spans.note((1, size), MS)
    assert spans.quiet((1, 9_999)) > 0
    assert spans.quiet((1, 0)) == 0
