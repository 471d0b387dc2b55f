"""After a reset each program is loaded again as it was, in its own arithmetic."""

from __future__ import annotations

from vaccel.compute import KernelSource, Program
from vaccel.programs import Programs
from vaccel.uploads import ModelSource


async def test_a_model_is_loaded_again_in_its_arithmetic() -> None:
    programs = Programs()
    given = [ModelSource(memoryview(b"one"), arithmetic="bf16"), ModelSource(memoryview(b"two"))]
    for number, source in enumerate(given, 1):
        programs.add(Program(number, (), (), 0, 1, ""), source)
    asked: list[ModelSource | KernelSource] = []

    async def load(source: ModelSource | KernelSource) -> Program:
        asked.append(source)
        return Program(10 + len(asked), (), (), 0, 1, "")

    async def unload(program: Program) -> None:
        raise AssertionError(program)

    for _ in range(2):
        assert await programs.reload(load, unload) == []
    assert asked == given * 2
    assert programs.number(1) == 13
