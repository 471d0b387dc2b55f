"""The kernel of a guest, in the form that boots fastest."""

from __future__ import annotations

from pathlib import Path

from vaccel.errors import HostFault


def unpack_kernel(tree: Path, target: Path) -> None:
    """Copy the one kernel of an unpacked kernel package. Raises HostFault where there is not just one."""
    found = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise HostFault(f"kernel package holds {len(found)} kernels, not 1")
    target.write_bytes(found[0].read_bytes())
