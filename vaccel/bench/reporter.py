"""Progress for a person: a live line on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Without a terminal a step that goes on speaks again after this many seconds.
_AGAIN_SECONDS = 5.0


class Reporter:
    """Call it with what is going on and the fraction done, negative where unknown."""

    def __init__(self) -> None:
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._step = ""
        self._begun = self._spoken = self._first = time.monotonic()

    def __enter__(self) -> Reporter:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), "{task.description}", BarColumn(24), TimeElapsedColumn())
            self._live = Progress(*columns, console=Console(stderr=True), transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._finish()
            self._live.stop()

    def __call__(self, step: str, fraction: float = -1.0) -> None:
        """Say what is going on; a new step ends the one before."""
        if self._live is not None:
            self._draw(self._live, step, fraction)
        else:
            self._say(step, fraction)

    def _draw(self, live: Progress, step: str, fraction: float) -> None:
        if step != self._step or self._task is None:
            self._finish()
            self._step, self._begun = step, time.monotonic()
            self._task = live.add_task(step, total=None)
        if fraction >= 0:
            live.update(self._task, total=1.0, completed=min(1.0, fraction))

    def _finish(self) -> None:
        """Leave a line behind for a step that took over a second."""
        if self._live is None or self._task is None:
            return
        took = time.monotonic() - self._begun
        self._live.remove_task(self._task)
        self._task = None
        if took > 1.0:
            self._live.console.print(f"  {self._step}  [dim]{took:.1f} s[/dim]", highlight=False)

    def _say(self, step: str, fraction: float) -> None:
        now = time.monotonic()
        if step == self._step and now - self._spoken < _AGAIN_SECONDS:
            return
        self._step, self._spoken = step, now
        done = f" {fraction:.0%}" if fraction > 0 else ""
        print(f"[{now - self._first:5.1f} s] {step}{done}", file=sys.stderr, flush=True)
