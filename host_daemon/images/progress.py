"""How far a build is, read from the lines that mmdebstrap and the recipe print."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# (step, share of the whole done): called when there is something to say; the share never falls.
Progress = Callable[[str, float], None]

_NEW: Final = re.compile(r"\d+ upgraded, (\d+) newly installed")
_FETCHED: Final = re.compile(r"Get:(\d+) \S+ \S+ \S+ (\S+)")
_UNPACKED: Final = re.compile(r"Unpacking (\S+?)(?::\S+)? ")
_SET_UP: Final = re.compile(r"Setting up (\S+?)(?::\S+)? ")
# Where each phase begins and what share it takes, measured on a 2-core machine with a near mirror.
_LISTS: Final = (0.05, 0.08)
_FETCH: Final = (0.13, 0.17)
_UNPACK: Final = (0.30, 0.20)
_SETUP: Final = (0.50, 0.20)
_STEPS: Final = {
    "vaccel: fetching the kernel": 0.70,
    "vaccel: arranging files": 0.75,
    "vaccel: compiling Python": 0.80,
    "vaccel: writing the root file system": 0.92,
}


class BuildProgress:
    """Turns lines into progress. Lines that say nothing about it are passed over."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._packages = 0
        self._begun = False
        self._seen: dict[str, set[str]] = {"fetch": set(), "unpack": set(), "setup": set()}
        self._share = 0.0

    def step(self, name: str, share: float) -> None:
        """Report a step; a share lower than one before is raised to it."""
        self._share = min(1.0, max(self._share, share))
        self._tell(name, self._share)

    def line(self, text: str) -> None:
        """Take one line of the build's output."""
        if text.startswith("I: running apt-get update"):
            self.step("reading package lists", _LISTS[0])
        elif text.startswith("I: downloading packages"):
            self._begun = True
            self.step("downloading packages", _FETCH[0])
        elif text in _STEPS:
            self.step(text.removeprefix("vaccel: "), _STEPS[text])
        elif not self._begun:
            # A set-up hook installs a package of its own first: that is not the count that matters.
            return
        elif found := _NEW.search(text):
            self._packages = max(self._packages, int(found[1]))
        elif self._packages and (found := _FETCHED.match(text)):
            self._count("fetch", found[1], f"fetching {found[2]}", _FETCH)
        elif found := _UNPACKED.match(text):
            self._count("unpack", found[1], f"unpacking {found[1]}", _UNPACK)
        elif found := _SET_UP.match(text):
            self._count("setup", found[1], f"setting up {found[1]}", _SETUP)

    def _count(self, phase: str, key: str, name: str, span: tuple[float, float]) -> None:
        seen = self._seen[phase]
        seen.add(key)
        done = min(1.0, len(seen) / max(self._packages, len(seen), 1))
        self.step(name, span[0] + span[1] * done)
