from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_a_killed_writer_leaves_whole_transactions(tmp_path: Path) -> None:
    rounds = 60
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.unit.host_daemon.store.crash_rounds",
            "20261122",
            str(rounds),
            str(tmp_path / "state.db"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= rounds
