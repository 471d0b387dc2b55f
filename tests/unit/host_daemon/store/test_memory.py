from __future__ import annotations

import pytest

from host_daemon.core.store import Store
from host_daemon.store.memory import MemoryStore
from tests.conformance.store import StoreSuite


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(lambda: "host-1", lambda: 1)

    def test_nothing_is_on_disk(self, store: Store) -> None:
        assert store.schema_version == 0
