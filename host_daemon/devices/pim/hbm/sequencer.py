"""The program counter of a PIM unit: which instructions a burst runs.

All blocks of a channel share it. A burst in HAB_PIM mode runs one instruction; jumps take none, and
are gone through when the next burst arrives. Instructions that repeat stay for their bursts.
"""

from __future__ import annotations

from host_daemon.devices.pim.hbm.crf import Instruction, jump_target
from host_daemon.devices.pim.hbm.program import Program
from vaccel.errors import InvalidArgument


class Sequencer:
    """From HAB_PIM mode's start (``reset``) to EXIT."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.reset()

    def reset(self) -> None:
        """Back to the first instruction."""
        self.counter = 0
        self._done = 0  # bursts of the instruction that repeats
        self._taken: dict[int, int] = {}  # how often each jump has jumped

    @property
    def exited(self) -> bool:
        """Whether the next instruction is EXIT."""
        return self.program[self.counter].op == "EXIT"

    def burst(self) -> list[tuple[int, Instruction]]:
        """The instructions that one burst goes through, jumps before the one that runs.

        Raises InvalidArgument where the program has exited.
        """
        passed: list[tuple[int, Instruction]] = []
        while True:
            instruction = self.program[self.counter]
            if instruction.op == "EXIT":
                raise InvalidArgument(
                    f"a burst after the program exited at instruction {self.counter}",
                    hint="the program is shorter than its commands",
                )
            passed.append((self.counter, instruction))
            if instruction.op != "JUMP":
                break
            self._jump(instruction)
        self._done += 1
        if self._done == instruction.repeats:
            self._done = 0
            self.counter += 1
        return passed

    def _jump(self, jump: Instruction) -> None:
        taken = self._taken.get(self.counter, 0)
        if taken < jump.count:
            self._taken[self.counter] = taken + 1
            self.counter = jump_target(self.counter, jump)
        else:
            self._taken[self.counter] = 0
            self.counter += 1
