"""After a reset each program is loaded again as it was, in its own arithmetic."""

from __future__ import annotations

from vaccel.compute import KernelSource, Program
from vaccel.programs import Programs


async def test_a_model_is_loaded_again_in_its_arithmetic() -> None:
    programs = Programs()
    given = [memoryview(b"one"), memoryview(b"two")]
    programs.add(Program(1, (), (), 0, 1, ""), given[0], "bf16")
    programs.add(Program(2, (), (), 0, 1, ""), given[1])
    asked: list[tuple[memoryview | KernelSource, str]] = []

    async def load(source: memoryview | KernelSource, arithmetic: str) -> Program:
        asked.append((source, arithmetic))
        return Program(10 + len(asked), (), (), 0, 1, "")

    for _ in range(2):
        assert await programs.reload(load) == []
    assert asked == [(given[0], "bf16"), (given[1], "")] * 2
    assert programs.number(1) == 13
