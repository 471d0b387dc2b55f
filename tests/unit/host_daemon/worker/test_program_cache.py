"""The same bytes are compiled once in a VF; what nobody holds is kept a while, within bounds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from host_daemon.compiler import frontend, vxp
from host_daemon.compiler.program import CompiledProgram, Target
from host_daemon.devices import registry
from host_daemon.worker.executor import Executor
from host_daemon.worker.program_cache import Pending, ProgramCache
from tests.conformance import models
from tests.conformance.compute import opened
from tests.unit.host_daemon.compiler.test_weights import dense
from tests.unit.host_daemon.worker.test_executor import make_vf, tensor
from vaccel import bounds
from vaccel.commands import Launch
from vaccel.errors import InvalidModel

HERE = vxp.Identity("npu", "kcloud-1", "npu.1c.6g")


@pytest.fixture
def closed() -> list[CompiledProgram]:
    return []


@pytest.fixture
def cache(tmp_path: Path, closed: list[CompiledProgram]) -> ProgramCache:
    card = registry.load_card(registry.find_card("kcloud-1"))
    profile = registry.find_profile(card, "npu.1c.6g")
    target = Target(registry.model(card, profile), 1, tmp_path, profile.memory_bytes, HERE)
    return ProgramCache(target, closed.append)


def sized(rows: int) -> memoryview:
    return memoryview(dense(rows).SerializeToString())


def test_the_same_bytes_give_the_same_program(cache: ProgramCache) -> None:
    data = sized(64)
    first, fresh = cache.take(data)
    again, fresh_again = cache.take(memoryview(bytes(data)))
    assert first is again and (fresh, fresh_again) == (True, False)
    assert first.sha256 == hashlib.sha256(data).hexdigest()
    other, fresh_other = cache.take(sized(65))
    assert other is not first and fresh_other


def test_idle_programs_are_kept_within_bounds(
    cache: ProgramCache, closed: list[CompiledProgram], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "PROGRAMS_IDLE", 2)
    held, _ = cache.take(sized(63))
    programs = [cache.take(sized(rows))[0] for rows in (64, 65, 66)]
    for program in programs:
        cache.release(program)
    assert closed == programs[:1]  # the least recently used one; the one that is held stays
    assert cache.take(sized(66)) == (programs[2], False)
    monkeypatch.setattr(bounds, "PROGRAMS_IDLE_BYTES", 0)
    cache.release(held)
    assert set(closed) == {*programs[:2], held}


def test_a_new_epoch_forgets_all(cache: ProgramCache, closed: list[CompiledProgram]) -> None:
    idle, held = cache.take(sized(64))[0], cache.take(sized(65))[0]
    cache.release(idle)
    cache.clear()
    assert closed == [idle]
    cache.release(held)
    assert closed == [idle, held]
    assert cache.take(sized(64))[1]


def test_a_refused_model_leaves_nothing(cache: ProgramCache) -> None:
    bad = memoryview(dense().SerializeToString()[:-9])
    for _ in range(2):
        with pytest.raises(InvalidModel):
            cache.take(bad)
    assert cache.hits == 0


def test_a_file_that_claims_anothers_header_is_found_out(
    cache: ProgramCache, closed: list[CompiledProgram]
) -> None:
    file = b"".join(vxp.write(frontend.read(sized(64)), HERE, {}))
    first, _ = cache.take(memoryview(file))
    assert cache.take(memoryview(file)) == (first, False)
    forged = file[:-1] + bytes([file[-1] ^ 1])
    with pytest.raises(InvalidModel, match="weights"):
        cache.take(memoryview(forged))
    cache.release(first)
    cache.release(first)
    assert closed == [] and cache.take(memoryview(file)) == (first, False)


@pytest.mark.parametrize("gone_first", [True, False])
def test_a_load_whose_asker_has_gone_is_released(
    cache: ProgramCache, closed: list[CompiledProgram], gone_first: bool
) -> None:
    bounded = pytest.MonkeyPatch()
    with bounded.context() as patch:
        patch.setattr(bounds, "PROGRAMS_IDLE", 0)
        pending = Pending(cache)
        if gone_first:
            pending.abandon()
        program, _ = pending.keep(cache.take(sized(64)))
        if not gone_first:
            pending.abandon()
        assert closed == [program]


async def test_contexts_share_a_program_and_outlive_each_other(tmp_path: Path) -> None:
    x = {"x": tensor(np.ones((1, 4), np.float32))}
    async with Executor(make_vf(tmp_path)) as executor:
        async with opened(executor) as one:
            async with opened(executor) as two:
                ours, theirs = await one.load(models.build("affine")), None
                theirs = await two.load(models.build("affine"))
                assert (ours.sha256, ours.inputs) == (theirs.sha256, theirs.inputs)
                before = executor.usage().memory_bytes
                (done,) = await two.run(Launch(theirs.id, x))
                assert done.error is None
            (done,) = await one.run(Launch(ours.id, x))
            assert done.error is None
            # Each context is charged for what it holds itself.
            assert executor.usage().memory_bytes < before
        assert executor.usage().memory_bytes == 0
        assert executor._cache.hits == 1
        await executor.begin_epoch(2)
        async with opened(executor) as three:
            await three.load(models.build("affine"))
        assert executor._cache.hits == 1
