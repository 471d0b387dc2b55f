from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from host_daemon.devices import registry
from vaccel.errors import HostFault, InvalidArgument, NotFound


def test_the_catalogue_loads() -> None:
    assert "kcloud-1" in registry.cards()
    for name in registry.cards():
        card = registry.load_card(registry.find_card(name))
        assert card.name == name
        for profile in card.profiles:
            assert registry.model(card, profile).clock_hz == card.clock_hz


def test_kcloud_1_has_its_profiles() -> None:
    card = registry.load_card(registry.find_card("kcloud-1"))
    names = [profile.name for profile in card.profiles]
    assert names == ["npu.1c.6g", "npu.2c.12g", "npu.4c.24g", "npu.8c.48g"]
    two = registry.find_profile(card, "npu.2c.12g")
    assert (two.cores, two.memory_bytes) == (2, 12 << 30)
    assert two.bandwidth_bytes_per_second == card.bandwidth_bytes_per_second // 4
    assert two.window_bytes == 256 << 20


def test_an_unknown_card_kind_or_profile_names_what_there_is() -> None:
    with pytest.raises(NotFound, match="kcloud-1"):
        registry.find_card("kcloud-9")
    with pytest.raises(NotFound, match="npu"):
        registry.find_kind("tpu")
    card = registry.load_card(registry.find_card("kcloud-1"))
    with pytest.raises(NotFound, match=r"npu\.2c\.12g"):
        registry.find_profile(card, "npu.3c")


def test_a_card_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no\.toml"):
        registry.load_card(tmp_path / "no.toml")
    for content, what in [(b"\xff\xfe", "UTF-8"), (b"a = ", "TOML"), (b"", "kind")]:
        file = tmp_path / "a.toml"
        file.write_bytes(content)
        with pytest.raises(InvalidArgument, match=what):
            registry.load_card(file)
    file.write_bytes(b"#" * (1 << 20))
    with pytest.raises(InvalidArgument, match="longer"):
        registry.load_card(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('clock = { value = "1.0 GHz"', 'clock = { value = "-1.0 GHz"', "card.clock.*-1.0 GHz"),
        ('clock = { value = "1.0 GHz"', 'clock = { value = "1.0 GB"', "card.clock.*'GB'.*GHz"),
        ('value = "48 GiB", source = "design" }', 'value = "48 GiB" }', "card.memory.source"),
        ('value = "48 GiB", source = "design"', 'value = "48 GiB", source = "x"', "'x'.*sources"),
        ('window = { value = "256 MiB"', 'window = { value = "200 MiB"', "card.window.*power"),
        ('capacity = { value = "32 MiB"', 'capacity = { value = "64 KiB"', "sram.capacity.*tiles"),
        ("cores = { value = 4,", "cores = { value = 9,", "profile.2..cores.*= 9.*has 8"),
        ('memory = { value = "24 GiB"', 'memory = { value = "64 GiB"', "profile.2..memory"),
        ("rows = { value = 128", "rows = { value = 0", "array.rows.*= 0"),
        ('dataflow = "ws"', 'dataflow = "rs"', "array.dataflow.*'rs'.*os, ws, is"),
        ('name = "npu.2c.12g"', 'name = "npu.1c.6g"', "two profiles"),
        ("[noc]", "[noc]\nspeed = 3", "noc.speed.*unknown key"),
        ("[arithmetic.int4]", "[arithmetic.int5]", "arithmetic.int5.*unknown key"),
        ('name = "kcloud-1"', 'name = "Big Card"', "'Big Card'"),
        ('efficiency = { value = "85 %"', 'efficiency = { value = "120 %"', "efficiency"),
    ],
)
def test_a_broken_card_names_field_and_value(old: str, new: str, message: str) -> None:
    text = registry.find_card("kcloud-1").read_text()
    assert old in text
    with pytest.raises(InvalidArgument, match=message):
        registry.parse_card(text.replace(old, new, 1), "my.toml")


def test_a_kind_joins_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(*entries: tuple[str, str]) -> None:
        found = EntryPoints(EntryPoint(name, value, registry.GROUP) for name, value in entries)
        monkeypatch.setattr(registry.metadata, "entry_points", lambda group: found)

    points(("mine", "host_daemon.devices.npu.kind:NpuKind"))
    assert registry.find_kind("mine").name == "npu"
    points(("mine", "no.such.module:Kind"))
    with pytest.raises(HostFault, match="mine"):
        registry.find_kind("mine")
    points(("npu", "other.package:Kind"))
    with pytest.raises(HostFault, match="claimed"):
        registry.kinds()
