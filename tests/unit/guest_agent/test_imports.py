from __future__ import annotations

import subprocess
import sys


def test_the_bus_is_watched_before_anything_heavy_is_loaded() -> None:
    program = (
        "import sys, guest_agent.main, guest_agent.agent;"
        "print(sorted({'grpc', 'numpy', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
