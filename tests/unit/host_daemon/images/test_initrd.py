from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from host_daemon.images.initrd import Entry, cpio, find_modules, load_order, make_initrd
from vaccel.errors import HostFault


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    kernel = tmp_path / "lib" / "modules" / "6.1" / "kernel"
    kernel.mkdir(parents=True)
    for name, depends in (
        ("virtio-blk", "virtio,virtio_ring"),
        ("virtio", "virtio_ring"),
        ("virtio_ring", ""),
        ("squashfs", "zlib"),
        ("loop-a", "loop_b"),
        ("loop-b", "loop_a"),
        ("broken", "nowhere"),
    ):
        (kernel / f"{name}.ko").write_bytes(f"\x7fELF\0depends={depends}\0name=x\0".encode())
    (kernel.parent / "modules.builtin").write_text("kernel/lib/zlib.ko\n")
    return tmp_path


def test_dependencies_come_first_and_once(tree: Path) -> None:
    modules = find_modules(tree)
    assert load_order(["virtio_blk", "virtio"], modules, []) == [
        "virtio_ring",
        "virtio",
        "virtio_blk",
    ]
    assert load_order(["squashfs"], modules, {"zlib"}) == ["squashfs"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "kernel module absent is not in the kernel package"),
        ("broken", "kernel module nowhere is not in the kernel package, needed by broken"),
        ("loop_a", "kernel module loop_a depends on itself: loop_a -> loop_b"),
    ],
)
def test_a_module_that_cannot_be_is_named(tree: Path, name: str, said: str) -> None:
    with pytest.raises(HostFault, match=said):
        load_order([name], find_modules(tree), [])


def test_cpio_itself_reads_the_archive() -> None:
    archive = cpio([Entry("a", 0o040755), Entry("a/b", 0o100644, b"hello"), Entry("c", 0o100755)])
    listed = subprocess.run(
        ["cpio", "--list", "--quiet"], input=archive, capture_output=True, check=True
    )
    assert listed.stdout.split() == [b"a", b"a/b", b"c"]


def test_the_initrd_tells_the_guest_what_to_load(tree: Path) -> None:
    archive = make_initrd(tree, b"busybox", b"script", ["virtio_blk"], ["squashfs", "virtio"])
    assert b'early="virtio_ring virtio virtio_blk"\nlate="squashfs"\n' in archive
    assert make_initrd(tree, b"busybox", b"script", ["virtio_blk"], ["squashfs"]) == archive
