"""The configuration, key by key: what each takes, and how each refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_daemon import config
from host_daemon.config import PfConfig
from vaccel.errors import HostFault, InvalidArgument

PF = '[[pf]]\nname = "npu0"\ncard = "kcloud-1"\n'


def test_a_card_is_enough() -> None:
    made = config.parse(PF, "t.toml")
    assert made.pfs == (PfConfig("npu0", "kcloud-1"),)
    other = config.parse(PF + 'window = "512 MiB"\n', "a.toml")
    assert other.pfs == (PfConfig("npu0", "kcloud-1", 512 << 20),)
    assert made.host == config.HostConfig() and made.hypervisor == config.HypervisorConfig()


@pytest.mark.parametrize(
    ("section", "line", "value"),
    [
        ("host", 'state_dir = "/a/b"', Path("/a/b")),
        ("host", 'runtime_dir = "~/run"', Path.home() / "run"),
        ("host", 'memory_limit = "48 GiB"', 48 << 30),
        ("host", "worker_threads = 4", 4),
        ("host", "worker_uid = 1000", 1000),
        ("hypervisor", 'accelerator = "tcg"', "tcg"),
        ("hypervisor", 'memory = "1 GiB"', 1 << 30),
        ("hypervisor", "cpus = 2", 2),
        ("images", 'cache = "/c"', Path("/c")),
        ("images", 'recipes = "/r"', Path("/r")),
        ("images", 'lock = "/l"', Path("/l")),
        ("images", 'source = "/s"', Path("/s")),
        ("images", 'default = "debian"', "debian"),
    ],
)
def test_each_key_is_read(section: str, line: str, value: object) -> None:
    made = config.parse(f"[{section}]\n{line}\n{PF}", "t.toml")
    assert getattr(getattr(made, section), line.split(" ")[0]) == value


WRONG = {
    "unknown key": ("[host]\nstat_dir = '/a'\n" + PF, "host.stat_dir"),
    "unknown section": ("[hosts]\n" + PF, "'hosts'"),
    "unknown key of a pf": (PF + 'kard = "x"\n', "pf[0].kard"),
    "a section that is none": ("host = 1\n" + PF, "host is not a table"),
    "no pf": ("[host]\n", "no [[pf]]"),
    "a pf that is none": ("pf = [1]\n", "pf[0] is not a table"),
    "an empty pf": ("[[pf]]\n", "pf[0] has no name"),
    "a pf without a card": ('[[pf]]\nname = "a"\n', "pf[0] has no card"),
    "a bad name": (PF.replace("npu0", "NPU 0"), "'NPU 0'"),
    "an empty card": (PF.replace("kcloud-1", ""), "pf[0].card"),
    "a window of no BAR": (PF + 'window = "3 MiB"\n', "pf[0].window = '3 MiB'"),
    "a window too large": (PF + 'window = "2 GiB"\n', "power of two from 1 MiB"),
    "two of a name": (PF + PF, "'npu0'"),
    "a relative path": ("[host]\nstate_dir = 'a'\n" + PF, "host.state_dir = 'a'"),
    "a path that is none": ("[host]\nstate_dir = 1\n" + PF, "host.state_dir = 1"),
    "a wrong unit": ("[hypervisor]\nmemory = '1 GHz'\n" + PF, "hypervisor.memory"),
    "no unit": ("[hypervisor]\nmemory = 1024\n" + PF, "hypervisor.memory"),
    "no memory at all": ("[hypervisor]\nmemory = '0 GiB'\n" + PF, "hypervisor.memory"),
    "less than none": ("[host]\nmemory_limit = '-1 GiB'\n" + PF, "host.memory_limit"),
    "no threads": ("[host]\nworker_threads = 0\n" + PF, "host.worker_threads = 0"),
    "too many threads": ("[host]\nworker_threads = 257\n" + PF, "host.worker_threads = 257"),
    "threads in quotes": ("[host]\nworker_threads = '2'\n" + PF, "host.worker_threads = '2'"),
    "threads that are true": ("[host]\nworker_threads = true\n" + PF, "worker_threads = True"),
    "half a cpu": ("[hypervisor]\ncpus = 0.5\n" + PF, "hypervisor.cpus = 0.5"),
    "a uid below zero": ("[host]\nworker_uid = -1\n" + PF, "host.worker_uid = -1"),
    "no such accelerator": ("[hypervisor]\naccelerator = 'xen'\n" + PF, "'xen'"),
    "no image": ("[images]\ndefault = ''\n" + PF, "images.default"),
    "not TOML": ("[host\n", "not TOML"),
    "a key twice": ("[host]\nworker_uid = 1\nworker_uid = 2\n" + PF, "not TOML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str) -> None:
    text, word = WRONG[case]
    with pytest.raises(InvalidArgument) as caught:
        config.parse(text, "t.toml")
    message = str(caught.value)
    assert message.startswith("t.toml: ") and word in message
    assert "\n" not in message and caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for name in ("nowhere", ".", "latin"):
        with pytest.raises(HostFault, match="configuration") as caught:
            config.load(tmp_path / name)
        assert str(tmp_path) in str(caught.value) and "--config" in caught.value.hint
