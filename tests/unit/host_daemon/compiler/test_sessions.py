"""Products of uint8 by int8 are exact, whatever the CPU: by its kernels or by ORT's detour."""

from __future__ import annotations

import pytest

from host_daemon.compiler import sessions

OPTION = "session.x64quantprecision"


@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger"])
@pytest.mark.parametrize("constant", [0, 1])
def test_the_self_test_tells_what_it_is_for(op: str, constant: int) -> None:
    assert sessions._is_exact(op, constant) or sessions.saturates()


@pytest.mark.parametrize("inexact", [False, True])
def test_the_detour_is_taken_only_where_it_is_needed(monkeypatch, inexact: bool) -> None:
    monkeypatch.setattr(sessions, "saturates", lambda: inexact)
    chosen = sessions.options(1)
    if inexact:
        assert chosen.get_session_config_entry(OPTION) == "1"
    else:
        with pytest.raises(sessions.FAULTS, match=OPTION):
            chosen.get_session_config_entry(OPTION)


def test_one_wrong_kernel_is_enough(monkeypatch) -> None:
    monkeypatch.setattr(sessions, "_is_exact", lambda op, constant: op != "ConvInteger")
    sessions.saturates.cache_clear()
    try:
        assert sessions.saturates()
    finally:
        sessions.saturates.cache_clear()
