"""Speed of analog arrays beside aihwkit: the same products, one thread, in turns.

OPENBLAS_NUM_THREADS=1 python docs/devices/analog_speed.py PEER

PEER is the Python of an environment with aihwkit 1.1.0 (``python -m venv peer``, then
``peer/bin/pip install aihwkit==1.1.0 torch==2.10.0``: its binary fits no later torch). Rates are
multiply-accumulates per second of CPU time, of batches of 256 vectors, the best of three turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from host_daemon.devices.nvm.oracles import aihwkit_rate_again

# As long as the peer measures: the best of short measurements would be a luckier one.
TURNS, SECONDS = 3, 0.3


def _ours(name: str) -> float:
    preset, inputs, outputs = name.split()
    row = {"preset": preset, "weight_input_dist": "normal", "n_in": inputs, "n_out": outputs}
    return aihwkit_rate_again(row | {"batch": "256", "seeds": "1"}, SECONDS)


def main(peer: str) -> None:
    """Measure both in turns and print a table."""
    script = Path(__file__).with_name("analog_peer.py")
    theirs: dict[str, float] = {}
    ours: dict[str, float] = {}
    for _ in range(TURNS):
        done = subprocess.run([peer, str(script)], capture_output=True, text=True, check=True)
        for name, rate in json.loads(done.stdout.splitlines()[-1]).items():
            theirs[name] = max(rate, theirs.get(name, 0.0))
            ours[name] = max(_ours(name), ours.get(name, 0.0))
    print("| preset | array | aihwkit, G MAC/s | here, G MAC/s | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for name, rate in theirs.items():
        preset, inputs, outputs = name.split()
        cells = f"{rate / 1e9:.2f} | {ours[name] / 1e9:.1f} | {ours[name] / rate:.1f}"
        print(f"| `{preset}` | {inputs} x {outputs} | {cells} |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
