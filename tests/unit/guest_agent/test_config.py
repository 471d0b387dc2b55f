from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from guest_agent.config import Config, load, parse
from guest_agent.main import main
from tests.unit.guest_agent.fake_sysfs import FakeSysfs
from vaccel.aperture import layout
from vaccel.errors import InvalidArgument, NotFound


def test_reads_what_is_set_and_leaves_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('socket = "unix:/tmp/a.sock"\nrescan_seconds = 2\n')
    config = load(file)
    assert config == Config(socket="unix:/tmp/a.sock", rescan_seconds=2.0)
    assert config.mode == 0o666
    assert config.socket_path == Path("/tmp/a.sock")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sockett": "unix:/a"}, "unknown key 'sockett'"),
        ({"socket": 1}, "socket = 1 is not a str"),
        ({"socket": "tcp:0.0.0.0:1"}, "socket = 'tcp:0.0.0.0:1'"),
        ({"socket": "unix:/" + "x" * 108}, "socket = 'unix:/xxx"),
        ({"socket_mode": "rw"}, "socket_mode = 'rw'"),
        ({"socket_mode": "1777"}, "socket_mode = '1777'"),
        ({"socket_group": "no-such-group"}, "socket_group = 'no-such-group'"),
        ({"socket_group": "a\0b"}, "socket_group = 'a\\x00b'"),
        ({"state_dir": "here"}, "state_dir = 'here'"),
        ({"rescan_seconds": True}, "rescan_seconds = True"),
        ({"rescan_seconds": 0}, "rescan_seconds = 0"),
        ({"rescan_seconds": float("nan")}, "rescan_seconds = nan"),
        ({"log_level": "loud"}, "log_level = 'loud'"),
    ],
)
def test_each_bad_value_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=r"agent\.toml") as caught:
        parse(table, "agent.toml")
    assert message in caught.value.message


def test_a_named_file_must_be_there_and_be_toml(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"agent\.toml"):
        load(tmp_path / "agent.toml")
    (tmp_path / "agent.toml").write_text("= 1")
    with pytest.raises(InvalidArgument, match="not TOML"):
        load(tmp_path / "agent.toml")


def test_once_prints_the_vfs_and_errors_end_with_their_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sysfs = FakeSysfs(tmp_path / "sys")
    file = tmp_path / "agent.toml"
    file.write_text(f'sysfs = "{sysfs.root}"\n')
    assert main(["--config", str(file), "--once"]) == 8
    assert "no VF in this VM" in capsys.readouterr().err
    sysfs.plug("0000:00:05.0")
    assert main(["--config", str(file), "--once"]) == 0
    assert "vf-00000000000000000000000000  epoch 1" in capsys.readouterr().out
    assert main(["--config", str(file), "--status"]) == 8  # no worker has written its page
    assert re.search(r"^    state +none$", capsys.readouterr().out, re.M)
    window = sysfs.devices / "0000:00:05.0" / "resource2"
    with window.open("r+b") as page:
        page.seek(layout.STATUS_OFFSET + layout.STATUS_STATE.offset)
        page.write(layout.SERVING.to_bytes(8, "little") + (5).to_bytes(8, "little"))
    assert main(["--config", str(file), "--status"]) == 0
    assert re.search(r"^    state +serving\n    epoch +5$", capsys.readouterr().out, re.M)
    file.write_text("unknown = 1\n")
    assert main(["--config", str(file)]) == 2
    assert "unknown key 'unknown'" in capsys.readouterr().err
