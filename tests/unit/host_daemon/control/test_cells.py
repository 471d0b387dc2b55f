"""Whose the cells of a card are: files, ledgers, seeds, and what a daemon that died left."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host_daemon.control.cards import Pf
from host_daemon.control.cells import CellFiles, Lease, derive_seed, load_secret
from host_daemon.core.device import Operation
from host_daemon.core.lasting import Life
from host_daemon.core.lifecycle import VfState
from host_daemon.core.records import PfRecord, VfRecord
from host_daemon.devices import registry
from host_daemon.devices.nvm.device import NvmDevice
from host_daemon.devices.nvm.store import TileRecord, record_bytes
from vaccel.aperture.cells import CellRange
from vaccel.errors import HostFault, InvalidArgument, Unsupported
from vaccel.model import DType

WEIGHTS = np.random.default_rng(1).standard_normal((100, 100), dtype=np.float32)


def card_of_four():
    card = registry.load_card(registry.find_card("kcloud-3"))
    own = card.parameters
    profile = replace(card.profiles[0], cores=2)
    own = replace(own, tile=replace(own.tile, rows=128, columns=128))
    size = record_bytes(own.tile)
    return replace(card, cores=4, profiles=(profile,), parameters=own, cell_bytes=size)


def pf_of(card, name: str = "nvm0") -> Pf:
    record = PfRecord("pf-1", name, card.kind, card.name, card.cores, card.memory_bytes, 0)
    return Pf(record, card, Path("card.toml"))


def vf_of(name: str, cores: tuple[int, ...]) -> VfRecord:
    return VfRecord(
        name, name, "alice", "pf-1", "nvm.16t.512m", cores, 1, 1, VfState.READY, 1, 0
    )


def files(folder: Path, card=None) -> CellFiles:
    made = CellFiles(folder, b"s" * 32, registry.find_kind, os.urandom)
    made.open([pf_of(card or card_of_four())])
    return made


def write(lease: Lease, card) -> None:
    """What a worker does with its lease."""
    cells = CellRange(lease.descriptor, lease.offset, lease.length)
    os.close(lease.descriptor)
    device = registry.model(card, card.profiles[0])
    assert isinstance(device, NvmDevice)
    device.begin(Life(lease.seed, cells.bytes, lease.clock_seconds))
    spec = (DType.FLOAT32, WEIGHTS.shape)
    device.keep(
        Operation("MatMul", (spec, spec), (None,), {}, frozenset({1}), resident="m"), {1: WEIGHTS}
    )


def targets(folder: Path, card, core: int) -> np.ndarray:
    data = memoryview((folder / "nvm0.cells").read_bytes())
    return TileRecord.of(data, core, card.parameters).record["target"][0]


async def test_a_dead_owners_cells_are_erased_before_they_are_lent(tmp_path: Path) -> None:
    card = card_of_four()
    first = files(tmp_path, card)
    lease = await first.lend(vf_of("vf-one", (0, 1)))
    assert lease is not None
    write(lease, card)
    assert targets(tmp_path, card, 0).any()
    # The daemon dies; the next one has no record of that VF, and lends the cores to another.
    second = files(tmp_path, card)
    lent = await second.lend(vf_of("vf-two", (0, 1)))
    assert lent is not None
    os.close(lent.descriptor)
    assert not targets(tmp_path, card, 0).any()
    ledger = json.loads((tmp_path / "nvm0.json").read_text())
    assert ledger["owners"] == ["vf-two", "vf-two", "", ""]
    assert ledger["writes"] == {"vf-one": 100}


async def test_the_same_vf_finds_its_cells_again(tmp_path: Path) -> None:
    card, cells = card_of_four(), files(tmp_path)
    for _ in range(2):
        lease = await cells.lend(vf_of("vf-one", (2, 3)))
        assert lease is not None
        assert (lease.offset, lease.length) == (2 * card.cell_bytes, 2 * card.cell_bytes)
        write(lease, card)
    record = TileRecord.of(memoryview((tmp_path / "nvm0.cells").read_bytes()), 2, card.parameters)
    assert record.get("worst") == 1


async def test_cells_that_nobody_wrote_are_not_worn_by_erasing(tmp_path: Path) -> None:
    card, cells = card_of_four(), files(tmp_path)
    lease = await cells.lend(vf_of("vf-one", (0, 1)))
    assert lease is not None
    write(lease, card)
    await cells.release("vf-one", "alice")
    before = (tmp_path / "nvm0.cells").read_bytes()
    other = await cells.lend(vf_of("vf-two", (0, 1)))
    assert other is not None
    os.close(other.descriptor)
    await cells.release("vf-two", "bob")
    assert (tmp_path / "nvm0.cells").read_bytes() == before
    assert json.loads((tmp_path / "nvm0.json").read_text())["writes"] == {"alice": 100}


async def test_a_clock_survives_and_goes_forward_only(tmp_path: Path) -> None:
    pf = pf_of(card_of_four())
    assert files(tmp_path).advance(pf, 60.0) == 60.0
    cells = files(tmp_path)
    assert cells.clock(pf) == 60.0
    for wrong in (-1.0, float("nan"), float("inf"), 1e12):
        with pytest.raises(InvalidArgument, match="clock"):
            cells.advance(pf, wrong)
    npu = registry.load_card(registry.find_card("kcloud-1"))
    with pytest.raises(Unsupported, match="kind npu, whose cells do not age"):
        cells.clock(replace(pf_of(npu), record=replace(pf.record, id="pf-2", kind="npu")))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("card", "hermes", "card = 'hermes', but this card has 'kcloud-3'"),
        ("cell_bytes", 7, "cell_bytes = 7"),
        ("version", 9, "version = 9"),
        ("layout", 1, "layout = 1, but this version of vaccel keeps cells in layout 2"),
        ("owners", [], "owners has 0 entries"),
        ("strange", 1, "cannot be read"),
    ],
)
def test_a_ledger_of_another_card_is_refused_by_name(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    files(tmp_path)
    path = tmp_path / "nvm0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(HostFault, match=message):
        files(tmp_path)


def test_a_ledger_from_before_layouts_were_numbered_is_refused(tmp_path: Path) -> None:
    files(tmp_path)
    path = tmp_path / "nvm0.json"
    table = json.loads(path.read_text())
    assert table.pop("layout") == 2
    path.write_text(json.dumps(table | {"cell_bytes": 4096}))
    with pytest.raises(HostFault, match=r"layout = 1, but .*remove this file together with its"):
        files(tmp_path)


def test_a_file_of_cells_of_another_size_is_refused(tmp_path: Path) -> None:
    files(tmp_path)
    os.truncate(tmp_path / "nvm0.cells", 4096)
    with pytest.raises(HostFault, match="has 4096 bytes, but the cells of kcloud-3 are"):
        files(tmp_path)


def test_seeds_are_of_the_secret_and_the_vf(tmp_path: Path) -> None:
    secret = load_secret(tmp_path / "secret", os.urandom)
    assert load_secret(tmp_path / "secret", os.urandom) == secret
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert derive_seed(secret, "vf-1") == derive_seed(secret, "vf-1")
    assert len({derive_seed(secret, "vf-1"), derive_seed(secret, "vf-2"), secret}) == 3
    assert derive_seed(b"t" * 32, "vf-1") != derive_seed(secret, "vf-1")
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(HostFault, match="5 bytes, not 32"):
        load_secret(tmp_path / "secret", os.urandom)


def test_a_range_is_of_whole_pages_and_in_the_file(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "cells", os.O_RDWR | os.O_CREAT, 0o600)
    os.truncate(descriptor, 8192)
    for offset, length in ((1, 4096), (0, 5), (-4096, 4096), (8192, 4096), (4096, 8192), (0, 0)):
        with pytest.raises(InvalidArgument, match="cells at"):
            CellRange(descriptor, offset, length)
    os.close(descriptor)


async def test_a_chosen_seed_is_of_its_text_alone_and_ends_with_the_vf(tmp_path: Path) -> None:
    first, second = vf_of("vf-1", (0, 1)), vf_of("vf-2", (2, 3))
    made = files(tmp_path)
    for vf in (first, second):
        made.check_seed(vf, "42")
        made.choose_seed(vf, "42")
    seeds = []
    for cells in (made, files(tmp_path)):  # a daemon that starts again knows it still
        for vf in (first, second):
            lease = await cells.lend(vf)
            assert lease is not None
            os.close(lease.descriptor)
            seeds.append(lease.seed)
    assert len(set(seeds)) == 1 and seeds[0] != derive_seed(b"s" * 32, "vf-1")
    (shown,) = made.seed_shown(first)
    assert (shown.value, shown.note) == (1, "chosen: 42")
    await made.release("vf-1")
    lease = await made.lend(first)
    assert lease is not None
    os.close(lease.descriptor)
    assert lease.seed == derive_seed(b"s" * 32, "vf-1")
    (shown,) = made.seed_shown(first)
    assert (shown.value, shown.note) == (0, "drawn from the host's secret")


@pytest.mark.parametrize("seed", ["x" * 65, "a\nb", "\x00"])
def test_a_seed_that_is_no_word_is_refused(tmp_path: Path, seed: str) -> None:
    with pytest.raises(InvalidArgument, match="seed = "):
        files(tmp_path).check_seed(vf_of("vf-1", (0,)), seed)


def test_a_card_that_draws_nothing_takes_no_seed(tmp_path: Path) -> None:
    made = files(tmp_path)
    other = replace(vf_of("vf-1", (0,)), pf="pf-9")
    made.check_seed(other, "")
    with pytest.raises(Unsupported, match="draws nothing at random"):
        made.check_seed(other, "7")
    assert made.seed_shown(other) == ()
