"""How long a program's calls are expected to take."""

from __future__ import annotations

from vaccel.fastpath.span import Span


def after(span: Span, *taken: float) -> Span:
    for one in taken:
        span = span.after(one)
    return span


def test_the_first_calls_are_looked_at_all_the_time() -> None:
    assert Span().quiet == after(Span(), 9.0).quiet == after(Span(), 9.0, 0.1).quiet == 0


def test_then_most_of_the_fastest_is_waited_quietly() -> None:
    assert abs(after(Span(), 9.0, 0.1, 0.2).quiet - 0.09) < 1e-12


def test_who_comes_late_comes_much_earlier_the_next_time() -> None:
    usual = after(Span(), 0.1, 0.1, 0.1)
    assert usual.after(usual.quiet).quiet == usual.quiet / 2


def test_a_slow_call_makes_little_difference() -> None:
    usual = after(Span(), 0.1, 0.1, 0.1)
    assert abs(usual.after(5.0).seconds - 0.11) < 1e-12
    assert usual.after(0.099).seconds == 0.099
