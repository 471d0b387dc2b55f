"""The QMP driver passes the suites of the port."""

from __future__ import annotations

import pytest

from tests.conformance.hypervisor import ExecuteSuite, LifeSuite, WindowSuite

pytestmark = [
    pytest.mark.vm,
    # The first test may have to build the image.
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="session"),
]


class TestExecute(ExecuteSuite):
    pass


class TestWindows(WindowSuite):
    pass


class TestLife(LifeSuite):
    pass
